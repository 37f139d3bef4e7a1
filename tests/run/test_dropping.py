"""Networks that are only passed through go when the last run that needs them has its result."""

import dataclasses

import pytest
import torch

from effbench.run.checkpoints import has_checkpoint
from effbench.run.dropping import drop, drop_left_checkpoints, use_of
from effbench.run.executors import run_here
from effbench.run.outcomes import RunError
from effbench.run.recording import keep_record
from effbench.run.store import Store
from effbench.run.sweep_records import read_records

CPU = torch.device("cpu")
ROUNDS = ["+prune=0.5,0.75", "recipe.rounds=2"]


class Silent:
    def __getattr__(self, name):
        return lambda *arguments, **options: None


def run(sweep, store, *, until=None):
    """Run a sweep and return its results; `until` ends it after so many."""
    results = []
    with use_of(store, by=sweep) as use:
        for point, result in use.follow(run_here(sweep.plan.points, store, CPU, Silent())):
            results.append((point, result))
            if len(results) == until:
                break
    return results


def networks(store):
    return {path.name for path in (store.root / "entries" / "models").iterdir()}


@pytest.mark.extended
def test_a_finished_sweep_has_kept_what_was_trained_and_where_its_points_end(store, tiny_sweep, everything_is_kept):
    sweep = tiny_sweep(*ROUNDS)
    run(sweep, store)
    (record,), _ = read_records(store.root)
    assert networks(store) == record.lasting < record.networks


@pytest.mark.extended
def test_the_same_command_then_computes_nothing_and_gives_the_same(store, tiny_sweep, everything_is_kept):
    sweep = tiny_sweep(*ROUNDS)
    first, again = run(sweep, store), run(sweep, store)
    assert all(result.was_kept for _, result in again)
    assert [result.blob for _, result in first] == [result.blob for _, result in again]


@pytest.mark.extended
def test_results_are_the_same_with_all_kept(tmp_path, tiny_sweep, everything_is_kept):
    files = []
    for keep in ("needed", "all"):
        sweep = tiny_sweep(*ROUNDS, f"store.keep={keep}")
        store = Store(tmp_path / keep)
        files.append([result.blob for _, result in run(sweep, store)])
        (record,), _ = read_records(store.root)
    assert files[0] == files[1]
    assert networks(store) == record.networks - {point.chain.prefix_keys[0] for point in sweep.plan.points}


@pytest.mark.extended
def test_a_cut_off_sweep_goes_on_from_all_it_needs(store, tiny_sweep, everything_is_kept):
    sweep = tiny_sweep(*ROUNDS, "+bits=8,4")  # pairs of points share all but the last step
    _, first, other = sweep.plan.points[:3]
    run(sweep, store, until=2)
    shared = set(first.chain.prefix_keys[1:]) & set(other.chain.prefix_keys)
    assert shared <= networks(store)
    _, (_, result) = run(sweep, store, until=3)[1:]
    assert len(result.cached_steps) == len(shared)


@pytest.mark.extended
def test_what_a_failed_run_needs_stays(store, tiny_sweep, everything_is_kept):
    sweep = tiny_sweep(*ROUNDS)

    def failing():
        for point, result in run_here(sweep.plan.points, store, CPU, Silent()):
            yield point, result if point.is_reference else RunError("no", "no")

    with use_of(store, by=sweep) as use:
        list(use.follow(failing()))
    _, *points = sweep.plan.points
    # As if each had failed after its last step: it has no result to be found.
    assert {key for point in points for key in point.chain.prefix_keys[1:]} <= networks(store)


@pytest.mark.parametrize(
    ("other", "stays"),
    [
        ({"points": {"open": ("k",)}}, True),  # it may go on from there
        ({"points": {"done": ("k",)}}, False),
        ({"points": {"done": ("k",)}, "lasting": ["k"]}, True),  # a point of it ends there
        ({"points": {"open": ("other",)}}, False),
    ],
)
def test_other_sweeps_of_the_store_have_a_say(store, record, other, stays):
    store.put_json("runs/done.json", {})
    store.put("models/k", b"")
    keep_record(record("other", **other), store)
    drop(["k"], record("own", {}), store)
    assert store.has_model("k") is stays


def test_what_lasts_and_what_is_locked_stays(store, record):
    for key in ("lasting", "locked", "passed"):
        store.put(f"models/{key}", b"")
        store.put(f"findings/{key}", b"")
    with store.lock("locked"):
        drop(["lasting", "locked", "passed", "absent"], record("own", {}, lasting=["lasting"]), store)
    assert networks(store) == {"lasting", "locked"}
    assert not store.has("findings/passed")


def test_the_store_knows_a_sweep_before_its_work_begins(store, tiny_sweep):
    with use_of(store, by=tiny_sweep()):
        assert len(read_records(store.root)[0]) == 1


def test_a_limit_that_can_not_be_kept_is_said_once(tmp_path, tiny_sweep, caplog):
    sweep = tiny_sweep("store.limit=1KB")
    store = Store(tmp_path, limit=sweep.store.limit_bytes)
    with use_of(dataclasses.replace(store), by=sweep):
        store.put("runs/a.effb", bytes(5000))
    (line,) = caplog.messages
    assert line.startswith("store.limit=1KB: can't be kept: results, and what unfinished sweeps need, take ")


@pytest.mark.extended
def test_records_are_not_read_anew_for_each_of_many_points(store, record, monkeypatch):
    """Five hundred points drop a network each while another sweep is known."""
    read = []
    monkeypatch.setattr(
        "effbench.run.sweep_records.read_json_entry", lambda root, name: read.append(name) or record("o", {}).to_plain()
    )
    keys = [f"k{number}" for number in range(500)]
    store.put("sweeps/o.json", b"")
    for key in keys:
        store.put(f"models/{key}", b"")
        drop([key], record("own", {}), store)
    assert read == ["sweeps/o.json"]
    assert networks(store) == set()


def test_checkpoints_that_were_left_go_where_no_run_of_any_sweep_may_need_them(store, record):
    """A step drops its own; these are of processes that were killed between that and keeping its network."""
    ended = record("one", {"r1": ("a", "b", "c")})
    keep_record(ended, store)
    keep_record(record("two", {"r2": ("b",), "r3": ("c",)}), store)
    store.put_json("runs/r3.json", {})
    for key in ("a", "b", "c", "d"):
        store.put(f"checkpoints/{key}-0", b"?")
    store.put("checkpoints/a-1", b"?")
    with store.lock("c"):  # it is being trained just now
        drop_left_checkpoints(["a", "b", "c"], ended, store)
    assert [has_checkpoint(key, store) for key in "abcd"] == [False, True, True, True]
    store.put_json("runs/r2.json", {})
    drop_left_checkpoints(["a", "b", "c"], ended, store)
    assert [has_checkpoint(key, store) for key in "abcd"] == [False, False, False, True]


@pytest.mark.extended
def test_the_store_knows_of_points_that_refining_adds(store, tiny_sweep):
    sweep = tiny_sweep("prune=0.5", "sweep.refine=1")
    with use_of(store, by=sweep) as use:
        use.extend(sweep.with_points(sweep.refinement.curves[0].make(0.25)))
        assert len(use.record.points) == 3
    (record,), _ = read_records(store.root)
    assert record.id == sweep.plan.sweep_id and record.points == use.record.points
