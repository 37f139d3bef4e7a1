"""The last part of a sweep: one quiet process times its models, interleaved with their reference."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from effbench.analysis.jitter import NOISY
from effbench.checks.errors import first_line
from effbench.codec import decode
from effbench.measure.free_memory import free_memory
from effbench.measure.grouped import GroupedSamples, sample_in_groups
from effbench.measure.latency import summarise_latency
from effbench.measure.rounds import samples_frame
from effbench.plan.blueprint import Blueprint
from effbench.plan.keys import digest
from effbench.plan.point import Point
from effbench.plan.sweep import MeasureSettings, Sweep
from effbench.run.apart import ProcessDied, call_apart
from effbench.run.outcomes import RunError
from effbench.run.parcel import why_not_sent
from effbench.run.results import load_result
from effbench.run.store import Store
from effbench.sweep.environment import describe_machine

VERSION = 2
"""Bumped when latencies come to mean something else."""
SPEEDUPS = ("speedup", "speedup_low", "speedup_high")
FREE_SHARE = 0.5
"""How much of the free memory the models of a pass take, where `measure.memory` does not say it."""


def measure_points(
    points: Sequence[Point],
    sweep: Sweep,
    store: Store,
    progress: Callable[[float, int], None] = lambda done, total: None,
    complain: Callable[[str], None] = lambda line: None,
    /,
) -> dict[str, dict[str, float]]:
    """Return latency metrics by run key: latency_ms/<name>, latency_ms_p90/<name>, speedup/<name>.

    What was measured of the same runs, in the same way, on the same machine is taken from the store. Each pass is made
    in a process of its own. `complain` is told, in a line, of a pass whose process died, and of a run that an engine
    could not measure: these have no metrics, the others do. `progress` is told how many passes are done, of how many.
    """
    latencies: dict[str, dict[str, float]] = {point.key: {} for point in points}
    passes = _passes(sweep)
    for position, one in enumerate(passes if points else []):
        progress(position, len(passes))
        entry = _entry(points, one, sweep)
        measured = store.get_json(entry)
        if measured is None or not _is_of(measured, points):
            report = partial(_report, progress, position, len(passes))
            found = _measured(points, one, sweep, store, report, complain)
            measured = _metrics(found.samples, points, name=one.name)
            if not found.failures and not _is_noisy(found.samples):  # the next time it may be quieter
                store.put_json(entry, measured)
        for key, metrics in measured.items():
            latencies[key] |= metrics
    progress(len(passes), len(passes))
    return latencies


def kept_latencies(points: Sequence[Point], sweep: Sweep, store: Store, /) -> dict[str, dict[str, float]]:
    """Return of the metrics of `measure_points` those that the store has."""
    latencies: dict[str, dict[str, float]] = {point.key: {} for point in points}
    for one in _passes(sweep) if points else []:
        measured = store.get_json(_entry(points, one, sweep))
        if measured is not None and _is_of(measured, points):
            for key, metrics in measured.items():
                latencies[key] |= metrics
    return latencies


def is_measured(points: Sequence[Point], sweep: Sweep, store: Store, /) -> bool:
    """Whether what `measure_points` gives is kept: it was measured on this machine, and undisturbed."""
    return all(store.has(_entry(points, one, sweep)) for one in _passes(sweep))


def _passes(sweep: Sweep) -> list[Pass]:
    return [
        Pass(engine, blueprint, batch, threads)
        for engine, blueprint in sweep.engines.items()
        for batch in sweep.measure.batch
        for threads in sweep.measure.threads
    ]


def _entry(points: Sequence[Point], one: Pass, sweep: Sweep) -> str:
    return f"latency/{_pass_key(points, one, sweep)}.json"


def _is_of(measured: Mapping[str, object], points: Sequence[Point]) -> bool:
    """Whether what was kept is metrics of these very runs."""
    return measured.keys() == {point.key for point in points} and all(isinstance(m, dict) for m in measured.values())


@dataclass(frozen=True)
class Pass:
    """One engine with one batch size and number of threads."""

    engine: str
    blueprint: Blueprint
    batch: int
    threads: int

    @property
    def name(self) -> str:
        """The metrics' suffix: batch 1 and one thread go without saying."""
        batch, threads = self.batch, self.threads
        return self.engine + (f".b{batch}" if batch != 1 else "") + (f".t{threads}" if threads != 1 else "")


def _report(progress: Callable[[float, int], None], n_done: int, n_passes: int, share: float) -> None:
    progress(n_done + share, n_passes)


def _measured(
    points: Sequence[Point],
    one: Pass,
    sweep: Sweep,
    store: Store,
    report: Callable[[float], None],
    complain: Callable[[str], None],
) -> GroupedSamples:
    """Make a pass in a process of its own, and tell what could not be measured."""
    metric = f"latency_ms/{one.name}"
    try:
        if why_not_sent(points) is not None:
            return sample_points(points, store.root, one, sweep.measure, report=report)
        found = call_apart(sample_points, points, store.root, one, sweep.measure, report=report)
    except (ProcessDied, RunError) as error:
        remedy = _REMEDY if isinstance(error, ProcessDied) and error.exit_code < 0 else ""
        complain(f"{metric}: not measured: {first_line(error)}{remedy}; the same command measures it")
        return GroupedSamples(samples=samples_frame({}, ()), failures={"": str(error)})
    for point in points:
        if point.key in found.failures:
            complain(f"{metric}: {point} could not be measured: {found.failures[point.key]}")
    return found


_REMEDY = "; out of memory? a smaller measure.memory=, as in 500MB, has fewer models there at a time"


def sample_points(
    points: Sequence[Point], root: Path, one: Pass, settings: MeasureSettings, /, *, report: Callable[[float], None]
) -> GroupedSamples:
    """Make a pass, here. root: the store's folder."""
    store = Store(root, read_only=True)
    memory = settings.memory_bytes()
    return sample_in_groups(
        {point.key: partial(_model, point, store) for point in points},
        {point.key: point.input_size for point in points},
        references={point.key: point.reference_key or point.key for point in points},
        memory=int(FREE_SHARE * free_memory()) if memory is None else memory,
        engine=one.blueprint.build(),
        threads=one.threads,
        batch=one.batch,
        seconds=settings.seconds,
        on_progress=report,
    )


def _is_noisy(samples: pd.DataFrame) -> bool:
    """Whether a pass was disturbed: in some model's calls the slowest tenth takes several times the median."""
    times = samples.groupby("model")["latency_ms"]
    return bool((times.quantile(0.9) / times.median() > NOISY).any())


def _model(point: Point, store: Store) -> nn.Module:
    """Return the model of a finished run, read back from its file."""
    result = load_result(point.key, store)
    if result is None:
        raise OSError(f"the result of {point} is gone from {store.root}; the same command computes it again")
    return decode(result.blob, point.chain.fresh_network())


def _metrics(samples: pd.DataFrame, points: Sequence[Point], *, name: str) -> dict[str, dict[str, float]]:
    """Return the metrics by run key; each run's speed-up is against its own reference, where that was measured."""
    metrics: dict[str, dict[str, float]] = {}
    groups: dict[str, list[str]] = {}
    measured = set(samples["model"])
    for point in points:
        if point.key in measured:
            groups.setdefault(point.reference_key or point.key, []).append(point.key)
    for reference, keys in groups.items():
        baseline = reference if reference in keys else keys[0]
        summary = summarise_latency(samples[samples["model"].isin(keys)], reference=baseline).set_index("model")
        for key in keys:
            wanted = ["latency_ms", "latency_ms_p90", *(SPEEDUPS if baseline == reference else ())]
            metrics[key] = {f"{metric}/{name}": float(summary[metric].loc[key]) for metric in wanted}
    return metrics


def _pass_key(points: Sequence[Point], one: Pass, sweep: Sweep) -> str:
    content = {
        "runs": sorted(point.key for point in points),
        "engine": one.blueprint.identity(),
        "batch": one.batch,
        "threads": one.threads,
        "seconds": sweep.measure.seconds,
        "machine": describe_machine(),
        "torch": torch.__version__,
        "version": VERSION,
    }
    return digest(json.loads(json.dumps(content)))
