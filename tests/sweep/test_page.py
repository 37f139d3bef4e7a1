"""The page that is printed shows what was swept, the quality, and the costs that vary."""

import pytest

from effbench.config.read import read_sweep
from effbench.sweep.carry_out import carry_out
from effbench.sweep.page import page_of
from effbench.tracking.tracker import TrackingError


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch):
    monkeypatch.setattr("effbench.sweep.carry_out.measure_points", lambda points, *_: {})
    monkeypatch.setattr("effbench.sweep.carry_out.log_models", lambda *_, **options: None)


@pytest.fixture
def paged(make_tracker, display, store, runs):
    """Return what tells the page of a sweep of these arguments: its address, and what the tracker was asked for."""

    def make(*arguments):
        sweep, tracker = read_sweep(list(arguments)), make_tracker()
        outcome = carry_out(sweep, store, tracker, display, runs(sweep))
        return page_of(sweep, outcome.frame, tracker), tracker.view

    return make


def test_it_has_the_axes_the_quality_and_the_costs_that_vary(paged):
    address, view = paged("+prune=0.5,0.9")
    assert address == "http://127.0.0.1:5000/#/page"
    metrics = ["accuracy_val", "accuracy", "size_bytes", "macs_effective", "size_ratio"]
    assert view == (["prune"], metrics, "size_bytes", False)


def test_what_else_tells_runs_apart_is_there(paged):
    address, view = paged(
        "+prune=0.5",
        "seed=0,1",
        "train.lr=0.1,0.2",
        "tracking.uri=http://me:pw@there:5000/base/",
        "tracking.log_model=true",
    )
    assert address == "http://there:5000/base/#/page"
    assert view[0] == ["prune", "train.lr", "seed"] and view[3] is True


def test_where_no_cost_varies_bytes_are_shown(paged):
    assert paged("+prune=0")[1] == (
        ["prune"],
        ["accuracy_val", "accuracy", "size_bytes", "size_ratio"],
        "size_bytes",
        False,
    )


def test_a_tracker_that_is_away_shows_none(make_tracker, display, store, runs, monkeypatch):
    sweep, tracker = read_sweep(["+prune=0.5"]), make_tracker()
    outcome = carry_out(sweep, store, tracker, display, runs(sweep))

    def away(*asked, **options):
        raise TrackingError("no answer")

    monkeypatch.setattr(tracker, "share_view", away)
    assert page_of(sweep, outcome.frame, tracker) is None
    assert page_of(sweep, outcome.frame.iloc[:0], tracker) is None
