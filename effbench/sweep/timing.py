"""The last part of a sweep: one quiet process times its models, interleaved with their reference."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import pandas as pd
import torch
from torch import nn

from effbench.analysis.jitter import NOISY
from effbench.codec import decode
from effbench.measure.latency import sample_latency, summarise_latency
from effbench.plan.blueprint import Blueprint
from effbench.plan.keys import digest
from effbench.plan.point import Point
from effbench.plan.sweep import Sweep
from effbench.run.results import load_result
from effbench.run.store import Store
from effbench.sweep.environment import describe_machine

VERSION = 2
"""Bumped when latencies come to mean something else."""
SPEEDUPS = ("speedup", "speedup_low", "speedup_high")


def measure_points(
    points: Sequence[Point],
    sweep: Sweep,
    store: Store,
    progress: Callable[[int, int], None] | None = None,
    /,
) -> dict[str, dict[str, float]]:
    """Return latency metrics by run key: latency_ms/<name>, latency_ms_p90/<name>, speedup/<name>.

    What was measured of the same runs, in the same way, on the same machine is taken from the store.
    """
    latencies: dict[str, dict[str, float]] = {point.key: {} for point in points}
    passes = [
        (engine, blueprint, batch, threads)
        for engine, blueprint in sweep.engines.items()
        for batch in sweep.measure.batch
        for threads in sweep.measure.threads
    ]
    models: dict[str, nn.Module] = {}
    for position, (engine, blueprint, batch, threads) in enumerate(passes if points else []):
        if progress is not None:
            progress(position, len(passes))
        entry = f"latency/{_pass_key(points, blueprint, batch, threads, sweep)}.json"
        measured = store.get_json(entry)
        if measured is None or not _is_of(measured, points):
            models = models or {point.key: _model(point, store) for point in points}
            samples = sample_latency(
                models,
                {point.key: point.input_size for point in points},
                engine=blueprint.build(),
                threads=threads,
                batch=batch,
                seconds=sweep.measure.seconds,
            )
            measured = _metrics(samples, points, name=_name(engine, batch, threads))
            if not _is_noisy(samples):  # the next time it may be quieter
                store.put_json(entry, measured)
        for key, metrics in measured.items():
            latencies[key] |= metrics
    if progress is not None:
        progress(len(passes), len(passes))
    return latencies


def _is_of(measured: Mapping[str, object], points: Sequence[Point]) -> bool:
    """Whether what was kept is metrics of these very runs."""
    return measured.keys() == {point.key for point in points} and all(isinstance(m, dict) for m in measured.values())


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
    for point in points:
        groups.setdefault(point.reference_key or point.key, []).append(point.key)
    for reference, keys in groups.items():
        baseline = reference if reference in keys else keys[0]
        summary = summarise_latency(samples[samples["model"].isin(keys)], reference=baseline).set_index("model")
        for key in keys:
            wanted = ["latency_ms", "latency_ms_p90", *(SPEEDUPS if baseline == reference else ())]
            metrics[key] = {f"{metric}/{name}": float(summary[metric].loc[key]) for metric in wanted}
    return metrics


def _name(engine: str, batch: int, threads: int) -> str:
    """Return the metric's suffix: batch 1 and one thread go without saying."""
    return engine + (f".b{batch}" if batch != 1 else "") + (f".t{threads}" if threads != 1 else "")


def _pass_key(points: Sequence[Point], engine: Blueprint, batch: int, threads: int, sweep: Sweep) -> str:
    content = {
        "runs": sorted(point.key for point in points),
        "engine": engine.identity(),
        "batch": batch,
        "threads": threads,
        "seconds": sweep.measure.seconds,
        "machine": describe_machine(),
        "torch": torch.__version__,
        "version": VERSION,
    }
    return digest(json.loads(json.dumps(content)))
