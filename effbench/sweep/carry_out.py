"""A planned sweep, carried out: runs, latency, tracking, analysis."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis import Counts
from effbench.plan.point import Point
from effbench.plan.sweep import Sweep
from effbench.plan.user_factory import HOLDING
from effbench.run.outcomes import STORAGE_ERRORS, Observer, Outcomes, RunError
from effbench.run.results import load_result
from effbench.run.store import Store
from effbench.sweep.chosen_points import points_to_measure
from effbench.sweep.engine_facts import library_lines, version_tags
from effbench.sweep.environment import describe_environment
from effbench.sweep.model_log import log_models
from effbench.sweep.note import note
from effbench.sweep.params import sweep_params
from effbench.sweep.realised import engine_tags
from effbench.sweep.records import extra_qualities, quality_columns
from effbench.sweep.run_log import RunLog
from effbench.sweep.shares import share_lines
from effbench.sweep.timing import Listener, kept_latencies, measure_points
from effbench.tracking import names
from effbench.tracking.tracker import Tracker, TrackingError
from effbench.training.curves import Row

PREPARING = ("augment", "resize_once", "side", *sorted(HOLDING))
"""Options of data sets that change the images, or how they are held, and not which they are."""


class Display(Observer, Protocol):
    """Shows how far a sweep is, while it is entered."""

    def __enter__(self) -> object:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing."""

    on_begin: Callable[[Point, float], None]
    """Is told when a run is begun to be computed, in seconds since 1970."""
    on_epoch: Callable[[Point, Row], None]
    """Is told of every epoch of every run."""

    def run_ended(self, point: Point, *, failed: bool) -> None:
        """Show that a run ended."""

    def measuring(self, done: float, total: int) -> None:
        """Show how far the latency pass is."""

    def say(self, line: str) -> None:
        """Print a line beside what is shown."""


@dataclass(frozen=True)
class SweepOutcome:
    """What became of a sweep. `frame` has one row per finished run, as `load_runs` would give it."""

    frame: pd.DataFrame
    failures: Mapping[str, RunError] = field(default_factory=dict)
    """The errors of failed runs, by the point's name."""
    counts: Counts | None = None
    """What each validation example adds to the runs' quality; None where those of one data set differ."""
    test_counts: Counts | None = None
    """The same of the test examples."""
    shares: Sequence[str] = ()
    """On which share of the weights techniques acted, where that was not all: a line each."""
    n_unlogged: int = 0
    """How many runs could not be logged; the store has their results."""
    tracking_problem: TrackingError | None = None
    """Why the tracker did not take something that is still to be logged; None where all is."""
    unmeasured: Sequence[str] = ()
    """Whose latency could not be measured, and why: a line each."""
    engine_notes: Sequence[str] = ()
    """What engines measured otherwise than was asked for: a line each."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Files for the parent: all samples of the latency passes that were made."""
    n_missing: int = 0
    """How many runs there was no time for."""

    @property
    def is_whole(self) -> bool:
        """Whether all that was asked for is there."""
        return not self.failures and not self.unmeasured and not self.n_missing


def carry_out(
    sweep: Sweep,
    store: Store,
    tracker: Tracker,
    display: Display,
    runs: Outcomes,
    /,
    *,
    began: float | None = None,
) -> SweepOutcome:
    """Log the runs of a sweep as they go on, then measure latency. A failed run does not stop the others.

    began: when the work did, in seconds since 1970: runs may have begun before the tracker was there.
    """
    plan = sweep.plan
    tracker.open_sweep(
        plan.sweep_id,
        name=sweep.name,
        params=sweep_params(sweep),
        tags={names.AXES: ",".join(plan.axes), names.NOTE: note(sweep.command), **describe_environment()},
        began=began,
    )
    log = RunLog(sweep, store, tracker, say=display.say)
    display.on_begin, display.on_epoch = log.note_begin, log.note_epoch
    metrics: dict[str, Mapping[str, float]] = {}
    words: dict[str, Mapping[str, str]] = {}
    failures: dict[str, RunError] = {}
    counts: dict[str, NDArray[np.int64]] = {}
    test_counts: dict[str, NDArray[np.int64]] = {}
    for point, result in runs:
        if isinstance(result, RunError):
            if result.errno is not None and result.errno in STORAGE_ERRORS:
                raise OSError(result.errno, os.strerror(result.errno))
            failures[str(point)] = result
        else:
            metrics[point.key] = result.metrics
            counts[point.key], test_counts[point.key] = result.counts_val, result.counts_test
            words[point.key] = result.words
        log.log(point, result)
        display.run_ended(point, failed=isinstance(result, RunError))
    finished = [point for point in plan.points if point.key in metrics]
    unmeasured: list[str] = []
    notes: list[str] = []
    files: dict[str, bytes] = {}
    listener = Listener(
        progress=display.measuring, complain=unmeasured.append, note=notes.append, keep=files.__setitem__
    )
    chosen = points_to_measure(finished, sweep, metrics)
    if len(chosen) < len(finished):
        notes.append(
            f"latency: of {len(finished)} runs the {len(chosen)} of the front over all other costs, and of references; "
            "measure.points=all times all"
        )
    latencies = measure_points(chosen, sweep, store, listener)
    notes += library_lines(sweep, store) if chosen else []
    log.log_waiting()
    frame = _frame(sweep, metrics, latencies)
    log.log_metrics(latencies)
    log.log_tags(engine_tags(frame))
    log.log_tags(version_tags(sweep, latencies))
    if sweep.tracking.log_model and log.problem is None:
        log.problem = log_models(finished, store, tracker, say=display.say)
    return SweepOutcome(
        frame,
        failures,
        counts=_counts(finished, counts),
        test_counts=_counts(finished, test_counts),
        shares=share_lines(finished, metrics, words),
        n_unlogged=log.n_waiting,
        tracking_problem=log.problem,
        unmeasured=unmeasured,
        engine_notes=notes,
        files=files,
    )


def outcome_so_far(sweep: Sweep, store: Store, /) -> SweepOutcome:
    """Return what the store has of a sweep that was interrupted: the runs that were computed, and their latencies."""
    results = {
        point.key: result for point in sweep.plan.points if (result := load_result(point.key, store)) is not None
    }
    finished = [point for point in sweep.plan.points if point.key in results]
    metrics = {key: result.metrics for key, result in results.items()}
    chosen = points_to_measure(finished, sweep, metrics)
    frame = _frame(sweep, metrics, kept_latencies(chosen, sweep, store))
    frame.attrs["failed"] = []  # what is not there was not tried
    return SweepOutcome(
        frame,
        counts=_counts(finished, {key: result.counts_val for key, result in results.items()}),
        test_counts=_counts(finished, {key: result.counts_test for key, result in results.items()}),
        shares=share_lines(finished, metrics, {key: result.words for key, result in results.items()}),
        n_missing=len(sweep.plan.points) - len(finished),
    )


def _frame(
    sweep: Sweep, metrics: Mapping[str, Mapping[str, float]], latencies: Mapping[str, Mapping[str, float]]
) -> pd.DataFrame:
    """Return the table of the runs whose metrics are there."""
    plan = sweep.plan
    finished = [point for point in plan.points if point.key in metrics]
    frame = pd.DataFrame([_row(point, {**metrics[point.key], **latencies.get(point.key, {})}) for point in finished])
    frame.attrs["extra_qualities"] = extra_qualities(plan.points[0])
    frame.attrs["moves"] = {name: list(axis.moves) for name, axis in sweep.axes.items()}
    frame.attrs["failed"] = [_failed(point) for point in plan.points if point.key not in metrics]
    return frame


def _failed(point: Point) -> dict[str, object]:
    """Return what the analysis is to know of a run that failed."""
    return {
        "point": point.label,
        "seed": point.seed,
        "control": point.is_control,
        "model": point.network_name,
        "data": point.data_name,
        "task": point.chain.loaded_task().name,
    }


def _counts(points: Sequence[Point], by_run: Mapping[str, NDArray[np.int64]]) -> Counts | None:
    """Return the counts of the runs; None where those of one data set can't be compared example by example."""
    kinds: dict[str, set[object]] = {}
    for point in points:
        kinds.setdefault(point.data_name, set()).add((by_run[point.key].shape, _examples(point)))
    if not kinds or any(len(own) > 1 for own in kinds.values()):
        return None
    chain = points[0].chain
    return Counts(kind=chain.loaded_task().quality(chain.loaded_data()).kind, by_run=by_run)


def _examples(point: Point) -> str:
    """Return what decides which examples a point is evaluated on: the data set, but for how its images are prepared."""
    data = point.chain.data
    return str((data.target, {name: value for name, value in data.options.items() if name not in PREPARING}))


def _row(point: Point, metrics: Mapping[str, float]) -> dict[str, object]:
    """Return the row of a run, with the columns that the analysis reads."""
    return {
        **point.swept,
        "side": point.chain.side,
        "point": point.label,
        "seed": point.seed,
        "reference": point.is_reference,
        "control": point.is_control,
        "run_key": point.key,
        "reference_key": point.reference_key or point.key,
        "model": point.network_name,
        "data": point.data_name,
        "task": point.chain.loaded_task().name,
        **quality_columns(point),
        **point.axes,
        **metrics,
    }
