"""A sweep carried out with a tracker in memory: what is logged, in which order, and what a failure does."""

import dataclasses
import errno
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from effbench.config.read import read_sweep
from effbench.plan.blueprint import Blueprint
from effbench.run.outcomes import RunError
from effbench.sweep.carry_out import _counts, _examples, carry_out
from effbench.tracking import names


@pytest.fixture
def sweep(monkeypatch):
    monkeypatch.setattr(
        "effbench.sweep.carry_out.measure_points",
        lambda points, *_: {point.key: {"latency_ms/eager": 1.0} for point in points},
    )
    return read_sweep(["+prune=0.5,0.9"])


def test_every_point_is_logged_and_then_its_latency(sweep, store, make_tracker, display, runs):
    tracker = make_tracker()
    outcome = carry_out(sweep, store, tracker, display, runs(sweep))
    ((sweep_id, name, params, tags),) = tracker.opened
    assert sweep_id == sweep.plan.sweep_id
    assert name == "+prune=0.5,0.9"
    assert tags[names.AXES] == "prune"
    assert "prune" not in params
    assert params["train.batch_size"] == 64
    assert "tolerance" not in params  # the next command may have another, and MLflow changes no param
    assert [(record.name, status) for record, status, _ in tracker.logged] == [
        ("reference, seed=0", "FINISHED"),
        ("prune=0.5, seed=0", "FINISHED"),
        ("prune=0.9, seed=0", "FINISHED"),
    ]
    assert [record.params["prune"] for record, _, _ in tracker.logged] == [0.0, 0.5, 0.9]
    assert set(tracker.later) == {point.key for point in sweep.plan.points}
    assert list(outcome.frame["point"]) == ["reference", "prune=0.5", "prune=0.9"]
    assert list(outcome.frame["latency_ms/eager"]) == [1.0] * 3
    assert outcome.failures == {}
    assert outcome.counts.kind == "ratio"
    assert sorted(outcome.counts.by_run) == sorted(outcome.frame["run_key"])
    for key, accuracy in zip(outcome.frame["run_key"], outcome.frame["accuracy_val"], strict=True):
        assert outcome.counts.quality_of(key) == accuracy
    assert display.ended == [(record.name, False) for record, _, _ in tracker.logged]


def test_what_is_logged_already_is_not_logged_again(sweep, store, make_tracker, display, runs):
    done = sweep.plan.points[1].key
    tracker = make_tracker(finished=[done])
    outcome = carry_out(sweep, store, tracker, display, runs(sweep))
    assert done not in {record.key for record, _, _ in tracker.logged}
    assert len(outcome.frame) == 3


def test_a_failure_is_logged_with_its_trace_and_the_others_go_on(sweep, store, make_tracker, display, runs):
    failures = {
        "prune=0.5": RunError("ValueError: bad\nand more", "Traceback …\nValueError: bad"),
        "reference": RunError.of(KeyError("lost")),
    }
    tracker = make_tracker()
    outcome = carry_out(sweep, store, tracker, display, runs(sweep, failures))
    assert set(outcome.failures) == {"prune=0.5, seed=0", "reference, seed=0"}
    assert list(outcome.frame["point"]) == ["prune=0.9"]
    statuses = {record.name: (record, status) for record, status, _ in tracker.logged}
    record, status = statuses["prune=0.5, seed=0"]
    assert status == "FAILED"
    assert record.files["traceback.txt"] == b"Traceback \xe2\x80\xa6\nValueError: bad"
    assert record.tags[names.ERROR] == "ValueError: bad"
    assert "model.effb" not in record.files
    assert statuses["reference, seed=0"][0].tags[names.ERROR] == "KeyError: 'lost'"
    assert display.ended[0] == ("reference, seed=0", True)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_takes_no_more_ends_the_sweep(sweep, store, number, make_tracker, display, runs):
    error = RunError.of(OSError(number, "no more"))
    tracker = make_tracker()
    with pytest.raises(OSError) as caught:
        carry_out(sweep, store, tracker, display, runs(sweep, {"prune=0.5": error}))
    assert caught.value.errno == number
    assert [record.name for record, _, _ in tracker.logged] == ["reference, seed=0"]


def test_a_result_that_was_kept_is_logged_as_reused(sweep, store, make_tracker, display, runs, result_of):
    kept = dataclasses.replace(result_of(sweep.plan.points[0]), was_kept=True)
    tracker = make_tracker()
    carry_out(sweep, store, tracker, display, runs(sweep, {"reference": kept}))
    assert [reused for _, _, reused in tracker.logged] == [True, False, False]


def test_the_frame_says_what_the_quality_is_and_what_else_was_counted(sweep, store, make_tracker, display, runs):
    frame = carry_out(sweep, store, make_tracker(), display, runs(sweep)).frame
    described = frame[["quality_name", "quality_kind", "quality_unit", "quality_direction"]].drop_duplicates()
    assert described.to_numpy().tolist() == [["accuracy", "ratio", "points", "higher"]]
    assert 0.05 < frame["quality_chance"].iloc[0] < 0.2
    assert frame.attrs["extra_qualities"] == ("accuracy_top5",)
    assert list(frame["task"].unique()) == ["classification"]
    assert list(frame["reference_key"].unique()) == [sweep.plan.points[0].key]


def test_without_examples_in_common_there_are_no_counts(sweep, store, make_tracker, display, runs, result_of):
    short = dataclasses.replace(result_of(sweep.plan.points[1]), counts_val=np.ones((5, 1, 2), np.int64))
    outcome = carry_out(sweep, store, make_tracker(), display, runs(sweep, {"prune=0.5": short}))
    assert outcome.counts is None
    assert len(outcome.frame) == 3


def test_runs_of_other_splits_of_as_many_images_have_no_counts_in_common(
    monkeypatch, store, make_tracker, display, runs
):
    monkeypatch.setattr("effbench.sweep.carry_out.measure_points", lambda points, *_: {})
    swept = read_sweep(["+prune=0.5", "data.split_seed=0,1"])
    assert carry_out(swept, store, make_tracker(), display, runs(swept)).counts is None


def test_each_data_set_has_its_own_examples():
    def point(key, data_name, n):
        data = SimpleNamespace(target=data_name, options={})
        task = SimpleNamespace(quality=lambda data: SimpleNamespace(kind="ratio"))
        chain = SimpleNamespace(data=data, loaded_task=lambda: task, loaded_data=lambda: None)
        return SimpleNamespace(key=key, data_name=data_name, chain=chain), np.ones((n, 1, 2), np.int64)

    def counts(*given):
        pairs = [point(*one) for one in given]
        return _counts([one for one, _ in pairs], {one.key: counts for one, counts in pairs})

    assert sorted(counts(("a", "digits", 5), ("b", "digits", 5), ("c", "photos", 7)).by_run) == ["a", "b", "c"]
    assert counts(("a", "digits", 5), ("b", "digits", 6), ("c", "photos", 7)) is None


def test_how_images_are_prepared_and_held_makes_no_other_examples():
    def examples(**options):
        data = Blueprint("my.data", {"root": "x", "side": 8, **options})
        return _examples(SimpleNamespace(chain=SimpleNamespace(data=data)))

    for options in ({"side": 9}, {"augment": "affine"}, {"cache": "disk", "cache_root": "y"}, {"workers": 3}):
        assert examples(**options) == examples()
    assert examples(root="y") != examples() != examples(split_seed=1)


def test_when_every_run_failed_the_frame_is_empty(sweep, store, make_tracker, display, runs):
    error = RunError("ValueError: no", "trace")
    failures = {point.label: error for point in sweep.plan.points}
    outcome = carry_out(sweep, store, make_tracker(), display, runs(sweep, failures))
    assert isinstance(outcome.frame, pd.DataFrame) and outcome.frame.empty
    assert len(outcome.failures) == 3
    assert outcome.counts is None


def test_what_refining_adds_is_computed_logged_and_measured_with_the_grid(
    monkeypatch, store, make_tracker, display, runs, result_of
):
    measured = []
    monkeypatch.setattr(
        "effbench.sweep.carry_out.measure_points",
        lambda points, *_: measured.extend(point.label for point in points) or {},
    )
    sweep = read_sweep(["+prune=0.1,0.5", "sweep.refine=2", "tolerance=0.03"])  # a tenth of the share is lost

    @contextmanager
    def computing(extended, points):
        assert {point.key for point in points} <= {point.key for point in extended.plan.points}
        yield ((point, result_of(point)) for point in points)

    tracker = make_tracker()
    outcome = carry_out(sweep, store, tracker, display, runs(sweep), computing=computing)
    labels = ["reference", "prune=0.1", "prune=0.5", "prune=0.3", "prune=0.4"]
    assert list(outcome.frame["point"]) == labels == measured and display.expected == 2
    tags = {record.name: record.tags for record, _, _ in tracker.logged}
    assert [names.REFINED in tags[f"{label}, seed=0"] for label in labels] == [False] * 3 + [True] * 2
    assert outcome.refined.sweep.plan.sweep_id == sweep.plan.sweep_id == tracker.opened[0][0]
    assert len(carry_out(sweep, store, make_tracker(), display, runs(sweep)).frame) == 3
