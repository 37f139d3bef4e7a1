"""What lies in a store, and which sweeps use it."""

import os
import time

import pytest

from effbench.run.inventory import ABANDONED_SECONDS, take_inventory
from effbench.run.recording import keep_record
from effbench.run.store import Store


def names(files):
    return sorted(file.path.name for file in files)


@pytest.fixture
def filled(store, record):
    """Return a store of two sweeps that share a trained network; nobody knows what is called `lost`."""
    keep_record(record("one", {"r1": ("shared", "passed1", "end1")}, lasting=["shared", "end1"]), store)
    keep_record(record("two", {"r2": ("shared", "end2")}, lasting=["shared", "end2"]), store)
    for network in ("shared", "passed1", "end1", "end2", "lost"):
        store.put(f"models/{network}", bytes(10))
    for name in ("shared-logits", "lost-logits"):
        store.put(f"tensors/{name}", bytes(10))
    for run in ("r1", "lost"):
        for part in ("json", "effb", "npz"):
            store.put(f"runs/{run}.{part}", bytes(10))
    store.put_json("latency/one.json", {"r1": {}})
    store.put_json("latency/lost.json", {"lost": {}})
    store.put("latency/damaged.json", b"?")
    store.put("figures/one.png", b"picture")
    store.put("figures/lost.png", b"other p")
    for name, content in {"sweeps/one": b"picture", "sweeps/lost": b"other p"}.items():
        (store.root / name).mkdir(parents=True)
        (store.root / name / "saturation.png").write_bytes(content)
    for name in ("r1", "shared", "tensor-shared-logits", "sweep-one", "lost"):
        (store.root / "locks" / f"{name}.lock").touch()
    return store


def test_each_file_is_given_to_the_sweeps_that_use_it(filled):
    inventory = take_inventory(filled.root)
    users = {(file.kind, file.path.name): sorted(file.sweeps) for file in inventory.files}
    assert users["models", "shared"] == users["tensors", "shared-logits"] == ["one", "two"]
    assert users["models", "end1"] == users["runs", "r1.npz"] == users["latency", "one.json"] == ["one"]
    assert users["figures", "one.png"] == ["one"]
    assert users["lock", "tensor-shared-logits.lock"] == ["one", "two"]
    assert users["lock", "sweep-one.lock"] == users["sweeps", "one.json"] == ["one"]
    for kind, name in users:
        if "lost" in name or "damaged" in name:
            assert users[kind, name] == [], name
    only = names(inventory.used_only_by(frozenset({"two"})))
    assert only == ["end2", "two.json"]
    both = inventory.used_only_by(frozenset({"one", "two"}))
    assert {"shared", "r1.effb"} <= set(names(both))


def test_decoded_data_sets_can_be_decoded_again_and_others_data_are_nobodys(store):
    key = "0123456789abcdef"
    mine = [f"data/{key}/about.json", f"data/{key}/train.bin", f"data/{key}{key}/val-sizes.bin", f"data/{key}.lock"]
    others = ["data/mnist/train.bin", f"data/{key}/cat.png", "data/train.bin", f"data/{key}/a/train.bin"]
    for name in (*mine, *others):
        path = store.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    inventory = take_inventory(store.root)
    kinds = {file.path.relative_to(store.root).as_posix(): file.kind for file in inventory.files}
    assert {kinds[name] for name in mine} == {"data"} and {kinds[name] for name in others} == {"foreign"}
    assert names(inventory.unused()) == ["about.json", "train.bin", "val-sizes.bin"]


def test_unused_is_what_no_sweep_knows_and_what_they_passed_through(filled):
    filled.put("runs/r1.json", b"")
    unused = [f"{file.kind} {file.path.name}" for file in take_inventory(filled.root).unused()]
    assert sorted(unused) == [
        "figures lost.png",
        "latency damaged.json",
        "latency lost.json",
        "lock lost.lock",
        "models lost",
        "models passed1",
        "output saturation.png",
        "runs lost.effb",
        "runs lost.json",
        "runs lost.npz",
        "tensors lost-logits",
    ]


def test_what_an_unfinished_run_may_go_on_from_is_used(filled):
    (filled.root / "entries" / "runs" / "r1.json").unlink()
    assert "passed1" not in names(take_inventory(filled.root).unused())


def test_foreign_files_are_named_and_nobodys(filled):
    entries = filled.root / "entries"
    (entries / "notes.txt").write_text("mine")
    (entries / "models" / "below").mkdir()
    (entries / "models" / "below" / "x").write_text("mine")
    (entries / "models" / "link").symlink_to("/")
    os.mkfifo(entries / "models" / "pipe")
    (entries / "sweeps" / "broken.json").write_bytes(b"half")
    inventory = take_inventory(filled.root)
    assert names(file for file in inventory.files if file.kind == "foreign") == ["notes.txt", "x"]
    assert not {"notes.txt", "x", "link", "pipe"} & set(names(inventory.unused()))
    (line,) = inventory.damaged
    assert "broken.json" in line


def test_parts_are_left_behind_only_when_nobody_has_touched_them_for_an_hour(filled):
    old, new = (filled.root / "entries" / "models" / f".{name}.part" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    then = time.time() - ABANDONED_SECONDS - 10
    os.utime(old, (then, then))
    unused = names(take_inventory(filled.root).unused())
    assert ".old.part" in unused and ".new.part" not in unused


def test_where_there_is_no_store_it_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"^store\.root=.*: there is no store; a sweep makes one$"):
        take_inventory(tmp_path)


def test_a_store_that_can_only_be_read_is_listed(filled):
    for folder in (filled.root / "entries", filled.root / "locks", filled.root):
        folder.chmod(0o500)
    try:
        before = sorted(path for path in filled.root.rglob("*"))
        assert take_inventory(filled.root).files
        assert sorted(path for path in filled.root.rglob("*")) == before
    finally:
        for folder in (filled.root, filled.root / "entries", filled.root / "locks"):
            folder.chmod(0o700)


def test_an_empty_store_has_nothing(tmp_path):
    Store(tmp_path)
    assert take_inventory(tmp_path).files == []


def test_a_checkpoint_is_used_as_long_as_an_unfinished_run_may_go_on_from_it(filled):
    for name in ("end1-0", "end2-0", "end2-1", "lost-0"):
        filled.put(f"checkpoints/{name}", bytes(10))
    filled.put("runs/r1.json", b"")
    inventory = take_inventory(filled.root)
    users = {file.path.name: sorted(file.sweeps) for file in inventory.files if file.kind == "checkpoints"}
    assert users == {"end1-0": ["one"], "end2-0": ["two"], "end2-1": ["two"], "lost-0": []}
    unused = {file.path.name for file in inventory.unused() if file.kind == "checkpoints"}
    assert unused == {"end1-0", "lost-0"}  # the run of `two` has no result yet
