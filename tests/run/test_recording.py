"""A sweep, recorded in the store that it uses."""

import os

from effbench.run.entry import entry_path
from effbench.run.recording import keep_record, record_of
from effbench.run.sweep_records import read_records


def test_a_planned_sweep_knows_its_runs_and_their_networks(tiny_sweep):
    sweep = tiny_sweep("prune=0.5")
    record, (reference, point) = record_of(sweep), sweep.plan.points
    assert (record.id, record.command) == (sweep.plan.sweep_id, sweep.command)
    assert record.points.keys() == {reference.key, point.key}
    assert set(point.chain.prefix_keys) <= set(record.points[point.key])
    assert record.lasting == {reference.chain.prefix_keys[1], reference.chain.key, point.chain.key}
    assert record.references == {reference.chain.prefix_keys[1], reference.chain.key}
    assert record.teachers == frozenset()


def test_using_it_again_touches_it(store, record):
    keep_record(record("one", {}), store)
    path = entry_path(store.root, "sweeps/one.json")
    os.utime(path, (1000, 1000))
    assert read_records(store.root)[0][0].last_used == 1000
    keep_record(record("one", {}), store)
    assert read_records(store.root)[0][0].last_used > 1000
