"""A ceiling: what was not used for longest goes first, and never what is needed."""

import os

import pytest
import torch

from effbench.run import room
from effbench.run.entry import entry_path
from effbench.run.recording import keep_record
from effbench.run.room import make_room, network_of
from effbench.run.store import Store

ENTRY = 1032  # bytes of an entry of 1000


@pytest.fixture(autouse=True)
def nothing_is_known(monkeypatch):
    monkeypatch.setattr(room, "_unseen", {})


@pytest.fixture
def fill(store):
    """Put entries of a thousand bytes, each used later than the one before."""

    def fill(*names):
        for age, name in enumerate(names):
            store.put(name, bytes(1000))
            os.utime(entry_path(store.root, name), (1000 + age, 1000 + age))

    return fill


def left(store):
    entries = store.root / "entries"
    return sorted(str(path.relative_to(entries)) for path in entries.rglob("*") if path.is_file())


def test_what_was_not_used_for_longest_goes_first(store, fill):
    fill("models/a", "tensors/b-x", "models/c")
    assert make_room(store.root, 3 * ENTRY) == 0
    assert len(left(store)) == 3
    assert make_room(store.root, 2 * ENTRY) == 0
    assert left(store) == ["models/c", "tensors/b-x"]
    assert make_room(store.root, ENTRY) == 0
    assert left(store) == ["models/c"]


def test_decoded_data_sets_are_not_counted(store, fill):
    fill("models/a", "models/b")
    (store.root / "data" / "key").mkdir(parents=True)
    (store.root / "data" / "key" / "train.bin").write_bytes(bytes(10 * ENTRY))
    assert make_room(store.root, 2 * ENTRY) == 0
    assert len(left(store)) == 2


def test_results_stay_and_what_can_not_be_kept_is_told(store, fill):
    fill("runs/r.json", "runs/r.effb", "runs/r.npz", "latency/l.json", "figures/f.png", "models/a")
    assert make_room(store.root, 2 * ENTRY) == 3 * ENTRY
    assert left(store) == ["figures/f.png", "latency/l.json", "runs/r.effb", "runs/r.json", "runs/r.npz"]


def test_what_an_unfinished_sweep_needs_stays(store, fill, record):
    fill("models/a", "tensors/a-x", "models/b", "models/c", "runs/done.json")
    keep_record(record("one", {"open": ("a", "b"), "done": ("c",)}), store)
    assert make_room(store.root, 1) > 0
    assert {"models/a", "tensors/a-x", "models/b"} <= set(left(store))
    assert "models/c" not in left(store)


def test_a_store_with_a_limit_keeps_within_it_as_it_is_written(tmp_path):
    store = Store(tmp_path, limit=30_000)
    sizes = []
    for number in range(20):
        store.keep_tensor(f"k{number}", lambda: torch.zeros(500))
        sizes.append(sum(path.stat().st_size for path in (tmp_path / "entries").rglob("*") if path.is_file()))
    assert max(sizes) <= 30_000 < 20 * 2000
    assert store.has("tensors/k19")


def test_reading_counts_as_use(tmp_path):
    store = Store(tmp_path)
    for name in ("a", "b"):
        store.keep_tensor(name, lambda: torch.zeros(500))
        os.utime(entry_path(tmp_path, f"tensors/{name}"), (1000, 1000))
    store.keep_tensor("a", lambda: torch.ones(1))
    make_room(tmp_path, 3000)
    assert left(store) == ["tensors/a"]


def test_a_store_far_from_its_limit_is_not_searched_each_time(store, monkeypatch):
    searched = []
    monkeypatch.setattr(room, "files_in", lambda root: searched.append(root) or [])
    for _ in range(500):
        make_room(store.root, 10**9, written=1000)
    assert len(searched) == 1


def test_what_is_being_written_is_left_alone(store, fill):
    fill("models/.x.part", "models/a")
    make_room(store.root, 1)
    assert left(store) == ["models/.x.part"]


def test_the_network_of_a_snapshot():
    assert network_of("abc") == network_of("abc-sensitivity-8-4") == "abc"
