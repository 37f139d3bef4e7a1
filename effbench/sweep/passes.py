"""One pass of a sweep's measuring: an engine with one batch size and number of threads, in a process of its own."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd
from torch import nn

from effbench.analysis.curves.jitter import NOISY
from effbench.codec import decode_on_grids
from effbench.measure.cores import held_to, is_crowded, n_cores
from effbench.measure.energy_counter import EnergyCounter
from effbench.measure.engine import evaluates_as_runs_do
from effbench.measure.free_memory import free_memory
from effbench.measure.grouped import sample_in_groups
from effbench.measure.latency import summarise_latency
from effbench.measure.subnormals import n_subnormal, without_subnormals
from effbench.plan.blueprint import Blueprint
from effbench.plan.point import Point
from effbench.plan.sweep import MeasureSettings, Sweep
from effbench.run.results import load_result
from effbench.run.store import Store
from effbench.run.through_engine import Found, engine_metrics

_ENERGY_SHARE = 0.2
"""Of the seconds that a model is timed for, those in which its energy is read beforehand, where that can be."""
FREE_SHARE = 0.5
"""How much of the free memory the models of a pass take, where `measure.memory` does not say it."""


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

    @property
    def file_name(self) -> str:
        """The suffix of what is known of the file that it runs: threads make no other one."""
        return self.engine + (f".b{self.batch}" if self.batch != 1 else "")


@dataclass(frozen=True, kw_only=True)
class Done:
    """A pass that was made."""

    samples: pd.DataFrame
    failures: Mapping[str, str] = field(default_factory=dict)
    """Why a run was not measured, by its key; under "" why none was."""
    found: Mapping[str, Found] = field(default_factory=dict)
    """What is new of the runs' networks on the engine, by run key."""
    others_busy: float = 0.0
    """How many cores other processes kept busy meanwhile."""
    energy_mj: Mapping[str, float] = field(default_factory=dict)
    """Of an inference of each run, by its key, where the processor's counters can be read."""
    flushed: Mapping[str, Flushed] = field(default_factory=dict)
    """Of the runs whose networks have subnormal weights, by run key."""


@dataclass(frozen=True)
class Flushed:
    """A network with subnormal weights, timed beside its copy in which these are zero."""

    n_subnormal: int
    speedup: float
    """How many times as fast the copy is."""


FLUSHED = "/flushed"
"""What the name of such a copy ends with, among the models of a pass."""


def passes_of(sweep: Sweep, /) -> list[Pass]:
    """Return the passes that a sweep asks for."""
    return [
        Pass(engine, blueprint, batch, threads)
        for engine, blueprint in sweep.engines.items()
        for batch in sweep.measure.batch
        for threads in sweep.measure.threads
    ]


def sample_points(
    points: Sequence[Point],
    root: Path,
    one: Pass,
    settings: MeasureSettings,
    known: frozenset[str],
    /,
    *,
    report: Callable[[float], None],
) -> Done:
    """Make a pass, here. root: the store's folder. known: the runs of whose networks all but the speed is known."""
    store, engine = Store(root, read_only=True), one.blueprint.build()
    memory = settings.memory_bytes()
    by_key = {point.key: point for point in points}
    found: dict[str, Found] = {}
    counter, energy_mj = EnergyCounter.find(), dict[str, float]()

    def inspect(key: str, model: nn.Module, prepared: Callable[[], object]) -> None:
        if key in by_key and key not in known and not evaluates_as_runs_do(engine):
            found[key] = engine_metrics(prepared, model, by_key[key], name=one.file_name, batch=one.batch)
        if key in by_key and counter is not None:
            with suppress(OSError), held_to(one.threads):  # counters that can't be read any more
                energy_mj[key] = counter.mj_of(prepared, seconds=_ENERGY_SHARE * settings.seconds) / one.batch

    models: dict[str, Callable[[], nn.Module]] = {point.key: partial(_model, point, store) for point in points}
    subnormal = {key: n for key, make in models.items() if (n := _n_subnormal(make))}
    models |= {key + FLUSHED: partial(_flushed, models[key]) for key in subnormal}
    grouped = sample_in_groups(
        models,
        {key: by_key[key.removesuffix(FLUSHED)].input_size for key in models},
        references={key: by_key[key].reference_key or key for key in by_key} | {k + FLUSHED: k for k in subnormal},
        memory=int(FREE_SHARE * free_memory()) if memory is None else memory,
        engine=engine,
        threads=one.threads,
        batch=one.batch,
        seconds=settings.seconds,
        on_progress=report,
        inspect=inspect,
    )
    return Done(
        samples=grouped.samples[grouped.samples["model"].isin(by_key)].reset_index(drop=True),
        failures={key: why for key, why in grouped.failures.items() if key in by_key},
        found=found,
        others_busy=grouped.others_busy,
        energy_mj=energy_mj,
        flushed={
            key: Flushed(n, speedup)
            for key, n in subnormal.items()
            if math.isfinite(speedup := _flushed_speedup(key, grouped.samples))
        },
    )


def _n_subnormal(make: Callable[[], nn.Module]) -> int:
    """Return how many weights of a model are subnormal; 0 where it can't be made, which is told when it is timed."""
    try:
        return n_subnormal(make())
    except Exception:
        return 0


def _flushed(make: Callable[[], nn.Module]) -> nn.Module:
    return without_subnormals(make())


def _flushed_speedup(key: str, samples: pd.DataFrame) -> float:
    """Return how many times as fast a model is without its subnormal weights; NaN where that was not timed."""
    both = samples[samples["model"].isin((key, key + FLUSHED))]
    if both["model"].nunique() < 2:
        return math.nan
    summary = summarise_latency(both, reference=key).set_index("model")
    return float(summary["speedup"].loc[key + FLUSHED])


def why_disturbed(done: Done, one: Pass) -> str:
    """Return why the times of a pass are not to be relied on; "" where they are."""
    if not len(done.samples):
        return ""
    if is_crowded(done.others_busy, threads=one.threads):
        return f"the machine was busy: other processes took {done.others_busy:.1f} of its {n_cores()} cores"
    if _is_noisy(done.samples):
        return "something else disturbed the timing: of some network the slowest tenth takes several times the median"
    return ""


def as_csv(samples: pd.DataFrame) -> bytes:
    """Return all samples of a pass as a table, compressed: the run's key, the round, milliseconds of a batch."""
    table = samples.rename(columns={"model": "run_key"})
    return gzip.compress(table.to_csv(index=False, float_format="%.6g").encode(), mtime=0)


def _is_noisy(samples: pd.DataFrame) -> bool:
    """Whether a pass was disturbed: in some model's calls the slowest tenth takes several times the median."""
    times = samples.groupby("model")["latency_ms"]
    return bool((times.quantile(0.9) / times.median() > NOISY).any())


def _model(point: Point, store: Store) -> nn.Module:
    """Return the model of a finished run, read back from its file."""
    result = load_result(point.key, store)
    if result is None:
        raise OSError(f"the result of {point} is gone from {store.root}; the same command computes it again")
    return decode_on_grids(result.blob, point.chain.fresh_network())
