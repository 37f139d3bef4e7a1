"""What a user wants out of a store, deleted; what is in use stays."""

import os
import time
from pathlib import Path

import pytest

from effbench.run.clearing import choose, clear
from effbench.run.inventory import take_inventory
from effbench.run.recording import keep_record
from effbench.run.sweep_records import read_records


@pytest.fixture
def filled(store, record):
    """Return a store of three sweeps, of which the first two share a network, and of something lost."""
    for sweep, networks in {"abc1": ("shared", "a"), "abd2": ("shared", "b"), "xyz3": ("c",)}.items():
        keep_record(record(sweep, {f"run-{sweep}": networks}, lasting=networks), store)
        for network in networks:
            store.put(f"models/{network}", bytes(10))
        for part in ("json", "effb", "npz"):
            store.put(f"runs/run-{sweep}.{part}", bytes(10))
        (store.root / "sweeps" / sweep).mkdir(parents=True)
        (store.root / "sweeps" / sweep / "table.csv").write_text("a,b")
    store.put("models/lost", bytes(10))
    return store


def cleared(store, what):
    inventory = take_inventory(store.root)
    return clear(inventory, choose(inventory, what))


def models(store):
    return sorted(path.name for path in (store.root / "entries" / "models").iterdir())


def age(store, *names, days):
    then = time.time() - days * 86_400
    for name in names:
        os.utime(store.root / "entries" / name, (then, then))


def test_a_sweep_goes_with_all_that_only_it_uses(filled):
    cleared(filled, "abc")
    assert models(filled) == ["b", "c", "lost", "shared"]
    assert not list((filled.root / "entries" / "runs").glob("run-abc1.*"))
    assert not (filled.root / "sweeps" / "abc1").exists()
    assert [record.id for record in read_records(filled.root)[0]] == ["abd2", "xyz3"]
    cleared(filled, "abd2")
    assert models(filled) == ["c", "lost"]


def test_what_is_unused_goes(filled):
    done = cleared(filled, "unused")
    assert (done.n_files, done.n_bytes) == (1, 42)
    assert models(filled) == ["a", "b", "c", "shared"]
    assert cleared(filled, "unused").n_files == 0


def test_what_was_not_used_for_long_goes(filled):
    age(filled, "sweeps/abc1.json", "sweeps/xyz3.json", days=31)
    age(filled, "models/b", days=99)  # of a sweep that was used since
    cleared(filled, "older=30d")
    assert models(filled) == ["b", "lost", "shared"]
    age(filled, "models/lost", days=3)
    cleared(filled, "older=71.5h")
    assert models(filled) == ["b", "shared"]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("ab", "clear=ab: is the beginning of several; give unused, older=30d or one of these sweeps: abc1, abd2"),
        ("no", "clear=no: there is no such sweep; give unused, older=30d or one of these sweeps: abc1, abd2, xyz3"),
        ("older=", "clear=older=: must be an age in hours, days or weeks, as in older=12h, older=30d, older=2w"),
        ("older=30", "clear=older=30: must be an age"),
        ("older=-1d", "clear=older=-1d: must be an age"),
        ("older=1y", "clear=older=1y: must be an age"),
    ],
)
def test_anything_else_is_refused(filled, what, message):
    with pytest.raises(ValueError) as refused:
        choose(take_inventory(filled.root), what)
    assert str(refused.value).startswith(message)


def test_a_sweep_that_is_under_way_stays(filled):
    with filled.lock("sweep-abc1"):
        done = cleared(filled, "abc1")
    assert done.running == ["abc1"]
    assert done.n_files == 0
    assert models(filled) == ["a", "b", "c", "lost", "shared"]


def test_a_network_that_somebody_is_at_stays(filled):
    with filled.lock("lost"):
        assert cleared(filled, "unused").n_files == 0
    assert cleared(filled, "unused").n_files >= 1
    assert not (filled.root / "locks" / "lost.lock").exists()


def test_a_clearing_that_is_cut_off_can_be_finished(filled, monkeypatch):
    unlink = Path.unlink
    gone = []

    def die(path, **options):
        if len(gone) == 2:
            raise KeyboardInterrupt
        gone.append(path.name)
        unlink(path, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "unlink", die)
        cleared(filled, "abc1")
    assert gone[0] == "run-abc1.json"  # a run is never there without its parts
    cleared(filled, "abc1")
    assert models(filled) == ["b", "c", "lost", "shared"]


def test_what_can_not_be_deleted_is_told(filled, monkeypatch):
    def refuse(path, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    done = cleared(filled, "abc1")
    assert done.n_files == 0
    assert any(line.endswith("run-abc1.json: Permission denied") for line in done.errors)
