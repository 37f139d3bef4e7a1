"""What is kept of passes: of which runs it is, and what of it was disturbed."""

import dataclasses

import pytest

from effbench.config.read import read_sweep
from effbench.sweep.kept_passes import KeptPass, keep_pass, kept_pass
from effbench.sweep.passes import passes_of


@pytest.fixture
def planned():
    sweep = read_sweep(["+prune=0.5", "model=lenet_5"])
    (one,) = passes_of(sweep)
    return sweep.plan.points, one, sweep


def asking(sweep, disturbed):
    return dataclasses.replace(sweep, measure=dataclasses.replace(sweep.measure, disturbed=disturbed))


@pytest.fixture
def made(planned):
    first, second = planned[0]
    return KeptPass(metrics={first.key: {"latency_ms/eager": 2.0}}, failures={second.key: "no kernel"}, samples=b"csv")


def test_metrics_failures_and_samples_come_back(planned, made, store):
    points, one, sweep = planned
    assert kept_pass(points, one, sweep, store) is None
    keep_pass(made, points, one, sweep, store)
    for way in ("discard", "keep"):
        assert kept_pass(tuple(reversed(points)), one, asking(sweep, way), store) == made
    assert kept_pass(points[:1], one, sweep, store) is None
    assert kept_pass(points, dataclasses.replace(one, threads=2), sweep, store) is None


def test_what_was_disturbed_is_for_those_who_ask_for_it(planned, made, store):
    points, one, sweep = planned
    busy = dataclasses.replace(made, disturbed="busy")
    keep_pass(busy, points, one, sweep, store)
    assert kept_pass(points, one, asking(sweep, "discard"), store) is None
    assert kept_pass(points, one, asking(sweep, "keep"), store) == busy
    keep_pass(made, points, one, sweep, store)
    assert kept_pass(points, one, asking(sweep, "keep"), store) == made


@pytest.mark.parametrize("content", [{}, {"a": {}}, {"runs": 1}, {"runs": {"a": {}}}])
def test_what_is_of_no_such_runs_is_nothing(planned, made, store, content):
    points, one, sweep = planned
    keep_pass(made, points, one, sweep, store)
    keep_pass(dataclasses.replace(made, disturbed="busy"), points, one, sweep, store)
    for path in (store.root / "entries" / "latency").glob("*.json"):
        store.put_json(f"latency/{path.name}", content)
    assert kept_pass(points, one, asking(sweep, "keep"), store) is None
