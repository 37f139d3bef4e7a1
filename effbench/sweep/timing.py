"""The last part of a sweep: one quiet process times its models, interleaved with their reference."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from effbench.analysis.jitter import NOISY
from effbench.checks.errors import first_line
from effbench.checks.text import few_names
from effbench.codec import decode_on_grids
from effbench.measure.cores import is_crowded, n_cores
from effbench.measure.engine import evaluates_as_runs_do
from effbench.measure.free_memory import free_memory
from effbench.measure.grouped import sample_in_groups
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
from effbench.run.through_engine import Found, engine_metrics
from effbench.sweep.environment import describe_machine

VERSION = 3
"""Bumped when latencies come to mean something else."""
SPEEDUPS = ("speedup", "speedup_low", "speedup_high")
TIMES = ("latency_ms", "latency_ms_p90", "latency_ms_p99", "latency_ms_spread")
FREE_SHARE = 0.5
"""How much of the free memory the models of a pass take, where `measure.memory` does not say it."""
Metrics = dict[str, dict[str, float]]
"""By run key and by name."""


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Is told how a sweep's measuring goes on."""

    progress: Callable[[float, int], None] = lambda done, total: None
    """How many passes are done, of how many."""
    complain: Callable[[str], None] = lambda line: None
    """A line for a pass whose process died, and for a run that an engine could not measure: these have no metrics."""
    note: Callable[[str], None] = lambda line: None
    """A line for what was measured otherwise than was asked for: what an engine leaves in floats, a busy machine."""
    keep: Callable[[str, bytes], None] = lambda name, content: None
    """The samples of a pass as a file."""


def measure_points(points: Sequence[Point], sweep: Sweep, store: Store, listener: Listener | None = None, /) -> Metrics:
    """Return what engines measured, by run key: latency_ms/<name>, speedup/<name>, <quality>/<name> and so on.

    What was measured of the same runs, in the same way, on the same machine is taken from the store. Each pass is made
    in a process of its own; one that was disturbed is told, and not kept.
    """
    listener = listener or Listener()
    found: Metrics = {point.key: {} for point in points}
    passes = _passes(sweep)
    for position, one in enumerate(passes if points else []):
        listener.progress(position, len(passes))
        entry = _entry(points, one, sweep)
        known = _known(points, one, store)
        measured = store.get_json(entry)
        if measured is None or not _is_of(measured, points) or known.keys() != measured.keys() & known.keys():
            done = _measured(points, one, sweep, store, partial(_report, listener, position, len(passes)), known)
            measured = _metrics(done.samples, points, name=one.name)
            known |= done.found
            _keep_found(done.found, points, one, store)
            _tell_failures(done, points, one, listener)
            disturbed = _why_disturbed(done, one)
            if disturbed:
                listener.note(f"latency_ms/{one.name}: {disturbed}; the next time it is measured anew")
            elif not done.failures:
                store.put_json(entry, measured)
            samples = _as_csv(done.samples)
            store.put(_samples_of(entry), samples)
        else:
            samples = store.get(_samples_of(entry))
        if samples is not None:
            listener.keep(f"latency/{one.name}.csv.gz", samples)
        for line in _notes(known, points, one):
            listener.note(line)
        for key, metrics in measured.items():
            found[key] |= {**(known[key].metrics if key in known else {}), **metrics}
    listener.progress(len(passes), len(passes))
    return found


def kept_latencies(points: Sequence[Point], sweep: Sweep, store: Store, /) -> Metrics:
    """Return of the metrics of `measure_points` those that the store has."""
    kept: Metrics = {point.key: {} for point in points}
    for one in _passes(sweep) if points else []:
        measured = store.get_json(_entry(points, one, sweep))
        if measured is not None and _is_of(measured, points):
            known = _known(points, one, store)
            for key, metrics in measured.items():
                kept[key] |= {**(known[key].metrics if key in known else {}), **metrics}
    return kept


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


def _samples_of(entry: str) -> str:
    """Return where the samples are kept that a pass's metrics come from."""
    return entry.removesuffix(".json") + ".csv.gz"


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


def _report(listener: Listener, position: int, n_passes: int, share: float) -> None:
    listener.progress(position + share, n_passes)


def _found_entry(key: str, one: Pass) -> str:
    content = [key, one.blueprint.identity(), one.batch, describe_machine(), torch.__version__, VERSION]
    return f"latency/{digest(json.loads(json.dumps(content)))}.json"


def _known(points: Sequence[Point], one: Pass, store: Store) -> dict[str, Found]:
    """Return what is kept of the runs' networks on an engine, by run key."""
    kept = {point.key: store.get_json(_found_entry(point.key, one)) for point in points}
    found = {key: Found.of_plain(entry.get(key)) for key, entry in kept.items() if isinstance(entry, dict)}
    return {key: one for key, one in found.items() if one is not None}


def _keep_found(found: Mapping[str, Found], points: Sequence[Point], one: Pass, store: Store) -> None:
    for key, of_run in found.items():
        store.put_json(_found_entry(key, one), {key: of_run.to_plain()})


def _notes(known: Mapping[str, Found], points: Sequence[Point], one: Pass) -> list[str]:
    """Return a line for each thing that is otherwise than was asked for, with the runs that it is said of."""
    said: dict[str, list[str]] = {}
    for point in points:
        for note in known[point.key].notes if point.key in known else ():
            said.setdefault(note, []).append(str(point))
    return [f"{one.file_name}: {few_names(names)}: {note}" for note, names in said.items()]


def _tell_failures(done: Done, points: Sequence[Point], one: Pass, listener: Listener) -> None:
    if "" in done.failures:
        listener.complain(f"latency_ms/{one.name}: not measured: {done.failures['']}; the same command measures it")
    for point in points:
        if point.key in done.failures:
            why = done.failures[point.key]
            listener.complain(f"latency_ms/{one.name}: {point} could not be measured: {why}")


def _measured(
    points: Sequence[Point],
    one: Pass,
    sweep: Sweep,
    store: Store,
    report: Callable[[float], None],
    known: Mapping[str, Found],
) -> Done:
    """Make a pass in a process of its own."""
    try:
        if why_not_sent(points) is not None:
            return sample_points(points, store.root, one, sweep.measure, frozenset(known), report=report)
        return call_apart(sample_points, points, store.root, one, sweep.measure, frozenset(known), report=report)
    except (ProcessDied, RunError) as error:
        remedy = _REMEDY if isinstance(error, ProcessDied) and error.exit_code < 0 else ""
        return Done(samples=samples_frame({}, ()), failures={"": f"{first_line(error)}{remedy}"})


_REMEDY = "; out of memory? a smaller measure.memory=, as in 500MB, has fewer models there at a time"


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

    def inspect(key: str, model: nn.Module, prepared: Callable[[], object]) -> None:
        if key not in known and not evaluates_as_runs_do(engine):
            found[key] = engine_metrics(prepared, model, by_key[key], name=one.file_name, batch=one.batch)

    grouped = sample_in_groups(
        {point.key: partial(_model, point, store) for point in points},
        {point.key: point.input_size for point in points},
        references={point.key: point.reference_key or point.key for point in points},
        memory=int(FREE_SHARE * free_memory()) if memory is None else memory,
        engine=engine,
        threads=one.threads,
        batch=one.batch,
        seconds=settings.seconds,
        on_progress=report,
        inspect=inspect,
    )
    return Done(
        samples=grouped.samples, failures=grouped.failures, found=found, others_busy=grouped.others_busy
    )


def _why_disturbed(done: Done, one: Pass) -> str:
    """Return why the times of a pass are not to be relied on; "" where they are."""
    if not len(done.samples):
        return ""
    if is_crowded(done.others_busy, threads=one.threads):
        return (
            f"the machine was busy: other processes took {done.others_busy:.1f} of its {n_cores()} cores, "
            "so read the times to one digit"
        )
    if _is_noisy(done.samples):
        return "something else disturbed the timing: of some network the slowest tenth takes several times the median"
    return ""


def _as_csv(samples: pd.DataFrame) -> bytes:
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
            wanted = [*TIMES, *(SPEEDUPS if baseline == reference else ())]
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
