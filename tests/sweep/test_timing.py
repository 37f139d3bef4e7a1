"""The latency pass: once per engine, batch and number of threads, for all runs together; kept by what it measured."""

import dataclasses

import pandas as pd
import pytest
from torch import nn

from effbench.config.read import read_sweep
from effbench.run.results import keep_result
from effbench.sweep import timing
from effbench.sweep.timing import measure_points

TINY = ["model.channels=[4,4]", "data.side=8"]


@pytest.fixture
def measured(monkeypatch):
    """Have each model take 2 ms where it is a reference, else 1 ms; return what was asked for."""
    asked = []

    def sample(models, sizes, *, engine, threads, batch, seconds):
        asked.append({"models": list(models), "sizes": dict(sizes), "threads": threads, "batch": batch, "s": seconds})
        rows = [(key, number, 2.0 if key in references else 1.0) for number in range(3) for key in models]
        return pd.DataFrame(rows, columns=["model", "round", "latency_ms"])

    references = set()
    monkeypatch.setattr(timing, "sample_latency", sample)
    monkeypatch.setattr(timing, "_model", lambda point, store: nn.Identity())
    monkeypatch.setattr(timing, "describe_machine", lambda: "a machine")
    return references, asked


def planned(*arguments):
    return read_sweep([*TINY, *arguments])


def test_every_run_has_its_latency_and_its_speedup_over_its_own_reference(measured, store):
    references, asked = measured
    sweep = planned("prune=0.5", "train.lr=0.001,0.002")
    points = sweep.plan.points
    references |= {point.key for point in points if point.is_reference}
    found = measure_points(points, sweep, store)
    assert set(found) == {point.key for point in points}
    for point in points:
        speedup = 1.0 if point.is_reference else 2.0
        latency = 2.0 / speedup
        assert found[point.key] == {
            "latency_ms/eager": latency,
            "latency_ms_p90/eager": latency,
            "speedup/eager": speedup,
            "speedup_low/eager": speedup,
            "speedup_high/eager": speedup,
        }
    (one_pass,) = asked  # all of them in turn: a noisy moment disturbs every one alike
    assert one_pass["models"] == [point.key for point in points]
    assert set(one_pass["sizes"].values()) == {(1, 8, 8)}


def test_batches_and_threads_are_told_in_the_name_where_they_are_not_one(measured, store):
    sweep = planned("measure.batch=1,8", "measure.threads=1,2", "measure.seconds=3")
    (found,) = measure_points(sweep.plan.points, sweep, store).values()
    suffixes = ("eager", "eager.t2", "eager.b8", "eager.b8.t2")
    assert list(found) == [
        f"{kind}/{name}"
        for name in suffixes
        for kind in ("latency_ms", "latency_ms_p90", "speedup", "speedup_low", "speedup_high")
    ]
    assert [(one["batch"], one["threads"], one["s"]) for one in measured[1]] == [
        *((1, 1, 3.0), (1, 2, 3.0), (8, 1, 3.0), (8, 2, 3.0)),
    ]


def test_what_was_measured_of_the_same_runs_is_kept(measured, store, monkeypatch):
    sweep, (_, asked) = planned("prune=0.5"), measured
    first = measure_points(sweep.plan.points, sweep, store)
    assert measure_points(tuple(reversed(sweep.plan.points)), sweep, store) == first
    assert len(asked) == 1
    changes = [
        (sweep.plan.points[:1], sweep),
        (sweep.plan.points, dataclasses.replace(sweep, measure=dataclasses.replace(sweep.measure, seconds=9.0))),
    ]
    for points, changed in changes:
        measure_points(points, changed, store)
    monkeypatch.setattr(timing, "describe_machine", lambda: "another machine")
    measure_points(sweep.plan.points, sweep, store)
    monkeypatch.setattr(timing, "VERSION", 99)
    measure_points(sweep.plan.points, sweep, store)
    assert len(asked) == 5


def test_what_a_disturbed_pass_measured_is_told_but_not_kept(measured, store, monkeypatch):
    sweep, (_, asked) = planned("prune=0.5"), measured
    quiet = timing.sample_latency

    def disturbed(models, sizes, **options):
        samples = quiet(models, sizes, **options)
        return samples.assign(latency_ms=[(1.0, 1.0, 21.0)[number] for number in samples["round"]])

    monkeypatch.setattr(timing, "sample_latency", disturbed)
    found = measure_points(sweep.plan.points, sweep, store)
    assert {metrics["latency_ms/eager"] for metrics in found.values()} == {1.0}
    monkeypatch.setattr(timing, "sample_latency", quiet)
    again = measure_points(sweep.plan.points, sweep, store)
    assert again != found and len(asked) == 2
    assert measure_points(sweep.plan.points, sweep, store) == again and len(asked) == 2


def test_without_its_reference_a_run_has_no_speedup(measured, store):
    sweep = planned("prune=0.5,0.9")
    found = measure_points([point for point in sweep.plan.points if not point.is_reference], sweep, store)
    assert [set(metrics) for metrics in found.values()] == [{"latency_ms/eager", "latency_ms_p90/eager"}] * 2


def test_nothing_is_measured_of_no_runs_and_progress_ends_where_it_should(measured, store):
    sweep, told = planned("measure.batch=1,8"), []
    assert measure_points([], sweep, store, lambda *step: told.append(step)) == {}
    assert measured[1] == []
    measure_points(sweep.plan.points, sweep, store, lambda *step: told.append(step))
    assert told == [(2, 2), (0, 2), (1, 2), (2, 2)]


def test_a_result_that_is_gone_is_an_error_in_a_line(store, result_of):
    sweep = planned()
    (point,) = sweep.plan.points
    with pytest.raises(
        OSError, match=r"^the result of reference, seed=0 is gone from .*; the same command computes it"
    ):
        timing._model(point, store)
    keep_result(point.key, result_of(point), store)
    with pytest.raises(ValueError):  # it is no file of a network
        timing._model(point, store)
