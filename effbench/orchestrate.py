"""A planned sweep, carried out: runs, latency, tracking, analysis."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pandas as pd

from effbench.codec import decode
from effbench.config.settings import Sweep
from effbench.environment import describe_environment
from effbench.latency_pass import measure_points
from effbench.plan import Plan, Point
from effbench.records import describe_run, sweep_params
from effbench.run import RunResult, run_point
from effbench.store import Store
from effbench.tracking import names
from effbench.tracking.tracker import Tracker


class Display(Protocol):
    """Shows how far a sweep is."""

    def run_started(self, point: Point) -> None:
        """Show that a run begins."""

    def step(self, point: Point, step: str, done: int, total: int) -> None:
        """Show how far a stage of a run is."""

    def run_ended(self, point: Point, *, failed: bool) -> None:
        """Show that a run ended."""

    def measuring(self, done: int, total: int) -> None:
        """Show how far the latency pass is."""


@dataclass(frozen=True)
class Outcome:
    """What became of a sweep. `frame` has one row per finished run, as `load_runs` would give it."""

    frame: pd.DataFrame
    failures: Mapping[str, BaseException] = field(default_factory=dict)
    """The exceptions of failed runs, by the point's name."""


def carry_out(sweep: Sweep, store: Store, tracker: Tracker, display: Display, /) -> Outcome:
    """Run every point of a sweep, then measure latency; log all of it. A failed run does not stop the others."""
    plan = sweep.plan
    tracker.open_sweep(
        plan.sweep_id,
        name=sweep.command.partition("effbench.sweep ")[2] or "reference",
        params=sweep_params(sweep),
        tags={names.AXES: ",".join(plan.axes), names.NOTE: f"`{sweep.command}`", **describe_environment()},
    )
    results: dict[str, RunResult] = {}
    failures: dict[str, BaseException] = {}
    for point in plan.points:
        display.run_started(point)
        try:
            result = run_point(point, store, device=sweep.device, progress=_progress(display, point))
        except Exception as error:  # whatever a network or a stage raises: the other runs go on
            failures[str(point)] = error
            record = describe_run(point, sweep, error="".join(traceback.format_exception(error)))
            tracker.log_run(record, status="FAILED")
        else:
            results[point.key] = result
            if point.key not in tracker.finished_keys():
                tracker.log_run(describe_run(point, sweep, result=result), status="FINISHED")
        display.run_ended(point, failed=str(point) in failures)
    latencies = _latencies(sweep, store, results, display)
    for key, metrics in latencies.items():
        tracker.log_metrics(key, metrics)
    return Outcome(frame_of(plan, results, latencies), failures)


def frame_of(
    plan: Plan, results: Mapping[str, RunResult], latencies: Mapping[str, Mapping[str, float]]
) -> pd.DataFrame:
    """Return one row per run that has a result, with the columns that the analysis reads."""
    rows = [
        {
            "point": point.label,
            "seed": point.seed,
            "reference": point.is_reference,
            "run_key": point.key,
            "reference_key": point.reference_key or point.key,
            "model": point.network_name,
            "data": point.data_name,
            **point.axes,
            **results[point.key].metrics,
            **latencies.get(point.key, {}),
        }
        for point in plan.points
        if point.key in results
    ]
    return pd.DataFrame(rows)


def _latencies(
    sweep: Sweep, store: Store, results: Mapping[str, RunResult], display: Display
) -> dict[str, dict[str, float]]:
    """Return the latency metrics of every run that has a result."""
    done = [point for point in sweep.plan.points if point.key in results]
    models = {point.key: decode(results[point.key].blob, point.fresh_network()) for point in done}
    return measure_points(done, models, sweep, store, display.measuring)


def _progress(display: Display, point: Point) -> Any:
    return lambda step, done, total: display.step(point, step, done, total)


def failed_names(failures: Mapping[str, BaseException]) -> Sequence[str]:
    """Return the names of the failed runs with the gist of why."""
    return [f"{name}: {type(error).__name__}: {error}" for name, error in failures.items()]
