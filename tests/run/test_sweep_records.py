"""What is known of sweeps without planning them again."""

import os

import pytest

from effbench.run.entry import entry_path
from effbench.run.recording import keep_record
from effbench.run.store import Store
from effbench.run.sweep_records import SweepRecord, needed_by_unfinished, read_records


def test_a_record_comes_back_as_it_was(store, record):
    kept = record("one", {"run": ("a", "b")}, lasting=["b"], references=["b"], teachers=["t"])
    keep_record(kept, store)
    (read,), damaged = read_records(store.root)
    assert damaged == []
    assert read.to_plain() == kept.to_plain()
    assert read.networks == {"a", "b"}
    assert SweepRecord.from_plain(read.to_plain()) == kept


def test_a_damaged_record_is_named_and_written_anew(store, record):
    keep_record(record("one", {}), store)
    keep_record(record("two", {}), store)
    path = entry_path(store.root, "sweeps/one.json")
    path.write_bytes(path.read_bytes()[:-3])
    os.mkfifo(path.with_stem("fifth"))
    store.put_json("sweeps/three.json", {"version": 99})
    store.put_json("sweeps/four.json", {"version": 1, "id": "four"})
    records, damaged = read_records(store.root)
    assert [kept.id for kept in records] == ["two"]
    assert [line.partition(":")[0] for line in damaged] == [
        str(path.with_stem(name)) for name in ("fifth", "four", "one", "three")
    ]
    keep_record(record("one", {}), store)
    assert [kept.id for kept in read_records(store.root)[0]] == ["one", "two"]


def test_what_runs_without_a_result_need(store, record):
    records = [record("one", {"done": ("a", "b"), "open": ("b", "c")}), record("two", {"done": ("d",)})]
    store.put_json("runs/done.json", {})
    assert [kept.unfinished(store.root) for kept in records] == [["open"], []]
    assert needed_by_unfinished(records, store.root) == {"b", "c"}


@pytest.mark.parametrize("root", ["absent", "."])
def test_a_folder_without_records_has_none(tmp_path, root):
    assert read_records(tmp_path / root) == ([], [])
    assert Store(tmp_path / root, read_only=True).get("sweeps/one.json") is None
