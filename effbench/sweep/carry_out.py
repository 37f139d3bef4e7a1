"""A planned sweep, carried out: runs, latency, tracking, analysis."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pandas as pd

from effbench.plan.point import Point
from effbench.plan.sweep import Sweep
from effbench.run.store import Store
from effbench.run.workers import STORAGE_ERRORS, Observer, RunError, Runs
from effbench.sweep.environment import describe_environment
from effbench.sweep.records import describe_run, sweep_params
from effbench.sweep.timing import measure_points
from effbench.tracking import names
from effbench.tracking.tracker import Tracker


class Display(Observer, Protocol):
    """Shows how far a sweep is."""

    def run_ended(self, point: Point, *, failed: bool) -> None:
        """Show that a run ended."""

    def measuring(self, done: int, total: int) -> None:
        """Show how far the latency pass is."""


@dataclass(frozen=True)
class Outcome:
    """What became of a sweep. `frame` has one row per finished run, as `load_runs` would give it."""

    frame: pd.DataFrame
    failures: Mapping[str, RunError] = field(default_factory=dict)
    """The errors of failed runs, by the point's name."""
    correct: Mapping[str, np.ndarray] = field(default_factory=dict)
    """By run key: which validation examples each run had right, (n_examples,) bool."""


def carry_out(sweep: Sweep, store: Store, tracker: Tracker, display: Display, runs: Runs, /) -> Outcome:
    """Log the runs of a sweep as they end, then measure latency. A failed run does not stop the others."""
    plan = sweep.plan
    tracker.open_sweep(
        plan.sweep_id,
        name=sweep.command.partition("effbench.sweep ")[2] or "reference",
        params=sweep_params(sweep),
        tags={names.AXES: ",".join(plan.axes), names.NOTE: f"`{sweep.command}`", **describe_environment()},
    )
    metrics: dict[str, Mapping[str, float]] = {}
    failures: dict[str, RunError] = {}
    correct: dict[str, np.ndarray] = {}
    for point, result in runs:
        if isinstance(result, RunError):
            if result.errno is not None and result.errno in STORAGE_ERRORS:
                raise OSError(result.errno, os.strerror(result.errno))
            failures[str(point)] = result
            tracker.log_run(describe_run(point, sweep, error=result), status="FAILED")
        else:
            metrics[point.key], correct[point.key] = result.metrics, result.correct_val
            if point.key not in tracker.finished_keys():
                tracker.log_run(describe_run(point, sweep, result=result), status="FINISHED", reused=result.was_kept)
        display.run_ended(point, failed=isinstance(result, RunError))
    finished = [point for point in plan.points if point.key in metrics]
    latencies = measure_points(finished, sweep, store, display.measuring)
    for key, values in latencies.items():
        tracker.log_metrics(key, values)
    rows = [_row(point, {**metrics[point.key], **latencies.get(point.key, {})}) for point in finished]
    return Outcome(pd.DataFrame(rows), failures, correct)


def _row(point: Point, metrics: Mapping[str, float]) -> dict[str, object]:
    """Return the row of a run, with the columns that the analysis reads."""
    return {
        **point.swept,
        "point": point.label,
        "seed": point.seed,
        "reference": point.is_reference,
        "run_key": point.key,
        "reference_key": point.reference_key or point.key,
        "model": point.network_name,
        "data": point.data_name,
        **point.axes,
        **metrics,
    }
