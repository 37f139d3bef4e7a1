"""A planned sweep, carried out: runs, latency, tracking, analysis."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis import Counts
from effbench.plan.point import Point
from effbench.plan.sweep import Sweep
from effbench.plan.user_factory import HOLDING
from effbench.run.outcomes import STORAGE_ERRORS, Observer, Outcomes, RunError
from effbench.run.results import RunResult, load_result
from effbench.run.store import Store
from effbench.sweep.chosen_points import points_to_measure
from effbench.sweep.engine_facts import library_lines, version_tags
from effbench.sweep.environment import describe_environment
from effbench.sweep.model_log import log_models
from effbench.sweep.note import note
from effbench.sweep.params import sweep_params
from effbench.sweep.realised import engine_tags
from effbench.sweep.refine import Refined, refine
from effbench.sweep.run_frame import run_frame
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

    def expect(self, n_runs: int, /) -> None:
        """Show that there are so many runs more than were planned."""

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
    refined: Refined | None = None
    """The sweep with what refining added to it; None where nothing was to be added."""

    @property
    def is_whole(self) -> bool:
        """Whether all that was asked for is there."""
        return not self.failures and not self.unmeasured and not self.n_missing


@dataclass
class _Taken:
    """What the runs of a sweep came to."""

    metrics: dict[str, Mapping[str, float]] = field(default_factory=dict)
    """By key, as all here but the errors."""
    words: dict[str, Mapping[str, str]] = field(default_factory=dict)
    counts: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    test_counts: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    test_examples: dict[str, Mapping[str, NDArray[Any]]] = field(default_factory=dict)
    failures: dict[str, RunError] = field(default_factory=dict)

    def take(self, runs: Outcomes, log: RunLog, display: Display) -> None:
        """Take and log the runs as they end. OSError where the store can take no more."""
        for point, result in runs:
            if isinstance(result, RunError):
                if result.errno is not None and result.errno in STORAGE_ERRORS:
                    raise OSError(result.errno, os.strerror(result.errno))
                self.failures[str(point)] = result
            else:
                self.metrics[point.key] = result.metrics
                self.counts[point.key], self.test_counts[point.key] = result.counts_val, result.counts_test
                self.test_examples[point.key] = result.test_examples
                self.words[point.key] = result.words
            log.log(point, result)
            display.run_ended(point, failed=isinstance(result, RunError))


class InterruptedAfterGrid(KeyboardInterrupt):
    """Interrupted once all runs of the grid had ended, well or not: what follows had begun."""


Computing = Callable[[Sweep, Sequence[Point]], AbstractContextManager[Outcomes]]
"""Computes further points of a sweep, which has them among its own, while it is entered."""


def carry_out(
    sweep: Sweep,
    store: Store,
    tracker: Tracker,
    display: Display,
    runs: Outcomes,
    /,
    *,
    began: float | None = None,
    computing: Computing | None = None,
) -> SweepOutcome:
    """Log the runs of a sweep as they go on, refine it, then measure latency. A failed run does not stop the others.

    began: when the work did, in seconds since 1970: runs may have begun before the tracker was there. computing: what
    computes the points that refining adds; None adds none.
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
    taken = _Taken()
    taken.take(runs, log, display)
    refined = Refined(sweep)

    def compute(extended: Sweep, points: Sequence[Point]) -> bool:
        assert computing is not None
        display.expect(len(points))
        with computing(extended, points) as more:
            taken.take(more, log, display)
        return True

    try:
        if computing is not None:
            refined = refine(sweep, taken.metrics, taken.counts, compute)
        return replace(_measured(refined.sweep, store, tracker, display, log, taken), refined=refined)
    except KeyboardInterrupt as interrupt:
        raise InterruptedAfterGrid from interrupt


def _measured(
    sweep: Sweep, store: Store, tracker: Tracker, display: Display, log: RunLog, taken: _Taken
) -> SweepOutcome:
    """Measure latency, and log what is to be logged of the finished runs together."""
    metrics = taken.metrics
    finished = [point for point in sweep.plan.points if point.key in metrics]
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
    frame = run_frame(sweep, metrics, latencies)
    log.log_metrics(latencies)
    log.log_tags(engine_tags(frame))
    log.log_tags(version_tags(sweep, latencies))
    if sweep.tracking.log_model and log.problem is None:
        log.problem = log_models(finished, store, tracker, say=display.say)
    return SweepOutcome(
        frame,
        taken.failures,
        counts=_counts(finished, taken.counts),
        test_counts=_counts(finished, taken.test_counts, taken.test_examples),
        shares=share_lines(finished, metrics, taken.words),
        n_unlogged=log.n_waiting,
        tracking_problem=log.problem,
        unmeasured=unmeasured,
        engine_notes=notes,
        files=files,
    )


def outcome_so_far(sweep: Sweep, store: Store, /, *, is_grid_over: bool) -> SweepOutcome:
    """Return what the store has of a sweep that was interrupted: the runs that were computed, and their latencies.

    is_grid_over: whether all runs of the grid had ended; what it then lacks had failed, and refining went on without.
    """
    results: dict[str, RunResult] = {}
    metrics: dict[str, Mapping[str, float]] = {}
    counts: dict[str, NDArray[np.int64]] = {}

    def look_up(_extended: Sweep, points: Sequence[Point]) -> bool:
        found = {point.key: result for point in points if (result := load_result(point.key, store)) is not None}
        results.update(found)
        metrics.update({key: result.metrics for key, result in found.items()})
        counts.update({key: result.counts_val for key, result in found.items()})
        return len(found) == len(points)

    is_done = look_up(sweep, sweep.plan.points)
    refined = refine(sweep, metrics, counts, look_up) if is_done or is_grid_over else Refined(sweep)
    sweep = refined.sweep
    finished = [point for point in sweep.plan.points if point.key in results]
    chosen = points_to_measure(finished, sweep, metrics)
    frame = run_frame(sweep, metrics, kept_latencies(chosen, sweep, store))
    frame.attrs["failed"] = []  # what is not there was not tried
    return SweepOutcome(
        frame,
        counts=_counts(finished, counts),
        test_counts=_counts(
            finished,
            {key: result.counts_test for key, result in results.items()},
            {key: result.test_examples for key, result in results.items()},
        ),
        shares=share_lines(finished, metrics, {key: result.words for key, result in results.items()}),
        n_missing=len(sweep.plan.points) - len(finished),
        refined=refined,
    )


def _counts(
    points: Sequence[Point],
    by_run: Mapping[str, NDArray[np.int64]],
    examples: Mapping[str, Mapping[str, NDArray[Any]]] | None = None,
) -> Counts | None:
    """Return the counts of the runs; None where those of one data set can't be compared example by example."""
    kinds: dict[str, set[object]] = {}
    for point in points:
        kinds.setdefault(point.data_name, set()).add((by_run[point.key].shape, _examples(point)))
    if not kinds or any(len(own) > 1 for own in kinds.values()):
        return None
    chain = points[0].chain
    kind = chain.loaded_task().quality(chain.loaded_data()).kind
    return Counts(kind=kind, by_run=by_run, examples=examples or {})


def _examples(point: Point) -> str:
    """Return what decides which examples a point is evaluated on: the data set, but for how its images are prepared."""
    data = point.chain.data
    return str((data.target, {name: value for name, value in data.options.items() if name not in PREPARING}))
