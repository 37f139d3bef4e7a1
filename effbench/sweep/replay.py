"""A tracked run, made again from its logged configuration, and compared with what was logged."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from effbench.checks.errors import first_line
from effbench.config.read import read_sweep
from effbench.config.resolved_file import read_resolved
from effbench.plan.point import Plan, Point
from effbench.plan.sweep import Sweep
from effbench.run.counts import unpack_counts
from effbench.run.executors import run_here
from effbench.run.outcomes import RunError
from effbench.run.results import RunResult
from effbench.run.store import Store
from effbench.sweep.load_model import find_run
from effbench.sweep.made_with import NAME as MADE_WITH
from effbench.sweep.made_with import differences, made_with, read_made_with
from effbench.sweep.progress import ProgressDisplay
from effbench.tracking import names
from effbench.tracking.read import load_file

_NOT_COMPARED = ("seconds", "latency", "speedup", "memory")
"""Parts of the names of metrics that are never the same twice: what took how long, and how much of the machine."""
MOST_METRICS = 5
"""How many of the metrics that differ are told, those that differ most."""


@dataclass(frozen=True, kw_only=True)
class Logged:
    """What was logged of a run."""

    run_id: str
    key: str
    metrics: Mapping[str, Any]
    config: str
    blob: bytes
    counts: Mapping[str, NDArray[np.int64]]
    """By split, see `run.counts`."""
    environment: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A run that is to be made again: how it was logged, and what would make it here."""

    logged: Logged
    sweep: Sweep
    point: Point

    @property
    def surroundings(self) -> list[str]:
        """What is otherwise here than it was where the run was logged, a line each."""
        return differences(self.logged.environment, made_with(self.point, self.sweep.device))


def read_logged(run: str, /, *, experiment: str, tracking_uri: str | None) -> Logged:
    """Return what was logged of a run. ValueError, in one line, where there is no such run or a file of it is gone."""
    row = find_run(run, experiment, tracking_uri)
    run_id, key = str(row["run_id"]), str(row["run_key"])
    files = {
        name: load_file(run_id, name, tracking_uri=tracking_uri)
        for name in (names.CONFIG_FILE, names.MODEL_FILE, names.COUNTS)
    }
    try:
        config = files[names.CONFIG_FILE].decode()
        val, test = unpack_counts(files[names.COUNTS])
    except UnicodeDecodeError:
        raise ValueError(f"run={run}: its {names.CONFIG_FILE} is damaged: it is no text in UTF-8") from None
    except ValueError as error:
        raise ValueError(f"run={run}: its {names.COUNTS} can't be read ({first_line(error)})") from None
    try:
        environment = read_made_with(load_file(run_id, MADE_WITH, tracking_uri=tracking_uri))
    except ValueError:
        environment = {}
    return Logged(
        run_id=run_id,
        key=key,
        metrics={str(name): value for name, value in row.items()},
        config=config,
        blob=files[names.MODEL_FILE],
        counts={"validation": val, "test": test},
        environment=environment,
    )


def plan_replay(logged: Logged, arguments: Sequence[str], /) -> Replay:
    """Plan a logged run anew. arguments: overrides, such as device=cpu. ValueError, in one line, where it can't be."""
    shown = f"{names.CONFIG_FILE} of run {logged.run_id}"
    file = read_resolved(logged.config, shown)
    if file.header.get("run_key", logged.key) != logged.key:
        raise ValueError(f"{shown}: is that of another run ({file.header['run_key']})")
    try:
        sweep = read_sweep(arguments, file=file)
    except ValueError as error:
        is_told = str(error).startswith(shown)
        by_python = f"; the call was {file.command}" if file.command.startswith("effbench.") else ""
        raise ValueError(str(error) if is_told else f"{shown}: can't be made again here: {error}{by_python}") from None
    same = [point for point in sweep.plan.points if point.key == logged.key]
    was_reference = bool(logged.metrics.get("reference", False))
    point = (same or [sweep.plan.points[0] if was_reference else sweep.plan.points[-1]])[0]
    return Replay(logged=logged, sweep=sweep, point=point)


def run_again(replay: Replay, root: Path, /) -> RunResult | RunError:
    """Make the run in a store of its own, with a bar on a terminal. root: an empty folder."""
    store, outcome = Store(root), None
    with ProgressDisplay(Plan((replay.point,))) as display:
        with closing(run_here([replay.point], store, replay.sweep.device, display)) as runs:
            for point, outcome in runs:
                display.run_ended(point, failed=isinstance(outcome, RunError))
    assert outcome is not None
    return outcome


def compare(replay: Replay, result: RunResult, /) -> list[str]:
    """Return what of the results differs from what was logged, a line each; nothing where they are identical."""
    logged = replay.logged
    lines = [] if replay.point.key == logged.key else [f"run key: {logged.key} then, {replay.point.key} now"]
    if result.blob != logged.blob:
        lines.append(f"file: {_file(logged.blob)} then, {_file(result.blob)} now")
    for split, now in (("validation", result.counts_val), ("test", result.counts_test)):
        then = logged.counts[split]
        if then.shape != now.shape:
            lines.append(f"{split} examples: {len(then)} then, {len(now)} now, or of another kind")
        elif not np.array_equal(then, now):
            n_other = int((then != now).any(axis=(1, 2)).sum())
            lines.append(f"{split}: {n_other} of {len(now)} examples are answered otherwise")
    return [*lines, *_metric_lines(logged.metrics, result.metrics)]


def _metric_lines(then: Mapping[str, Any], now: Mapping[str, float]) -> list[str]:
    """Return a line for each of the metrics that differ most, and how many more there are."""
    apart: dict[str, float] = {}
    for name, value in now.items():
        before = then.get(name)
        if any(part in name for part in _NOT_COMPARED) or not isinstance(before, int | float):
            continue
        if before != value and not (np.isnan(before) and np.isnan(value)):
            apart[name] = (
                abs(value - before) / max(abs(before), abs(value)) if np.isfinite([before, value]).all() else 9
            )
    worst = sorted(apart, key=lambda name: -apart[name])
    lines = [f"{name}: {then[name]:.10g} then, {now[name]:.10g} now" for name in worst[:MOST_METRICS]]
    more = len(worst) - MOST_METRICS
    return [*lines, *([f"{more} more metrics differ, by less"] if more > 0 else [])]


def identical_line(replay: Replay, result: RunResult, /) -> str:
    """Return what is said of results that are the same to the bit."""
    name = str(replay.logged.metrics.get("quality_name", ""))
    quality = f"{name} {result.metrics[name]:g}, " if name in result.metrics else ""
    return (
        f"identical: {quality}every one of {len(result.counts_val)} validation and {len(result.counts_test)} test "
        f"examples, file of {_file(result.blob)}"
    )


def _file(blob: bytes) -> str:
    return f"{len(blob):,} bytes (sha256 {hashlib.sha256(blob).hexdigest()[:12]})"
