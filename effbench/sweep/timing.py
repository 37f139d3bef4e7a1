"""The last part of a sweep: one quiet process times its models, interleaved with their reference."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from effbench.checks.errors import first_line
from effbench.checks.text import few_names
from effbench.measure.engine import engine_versions
from effbench.measure.latency import summarise_latency
from effbench.measure.rounds import samples_frame
from effbench.plan.keys import digest
from effbench.plan.point import Point
from effbench.plan.sweep import MeasureSettings, Sweep
from effbench.run.apart import ProcessDied, call_apart
from effbench.run.outcomes import RunError
from effbench.run.parcel import why_not_sent
from effbench.run.results import load_result
from effbench.run.store import Store
from effbench.run.through_engine import Found
from effbench.sweep.chosen_points import are_all_timed, points_to_measure
from effbench.sweep.environment import describe_machine
from effbench.sweep.passes import Done, Pass, as_csv, passes_of, sample_points, why_disturbed

VERSION = 3
"""Bumped when latencies come to mean something else."""
SPEEDUPS = ("speedup", "speedup_low", "speedup_high")
TIMES = ("latency_ms", "latency_ms_p90", "latency_ms_p99", "latency_ms_spread")
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
    passes = passes_of(sweep)
    noted: list[str] = []
    for position, one in enumerate(passes if points else []):
        listener.progress(position, len(passes))
        entry = _entry(points, one, sweep)
        known = _known(points, one, store)
        measured = store.get_json(entry)
        if measured is None or not _is_of(measured, points) or (known and known.keys() != _whole(measured).keys()):
            done = _measured(points, one, sweep, store, partial(_report, listener, position, len(passes)), known)
            known |= done.found
            _keep_found(done.found, points, one, store)
            samples = as_csv(done.samples)
            measured, is_to_be_kept = _judged(done, points, one, sweep.measure, listener)
            if is_to_be_kept:
                store.put_json(entry, measured)
                store.put(_samples_of(entry), samples)
        else:
            samples = store.get(_samples_of(entry)) or b""
        _tell_failures(measured, points, one, listener)
        measured = _whole(measured)
        if samples:
            listener.keep(f"latency/{one.name}.csv.gz", samples)
        for line in (*_notes(known, points, one), *_of_subnormals(measured, points, one)):
            if line not in noted:  # other threads run the same file
                noted.append(line)
                listener.note(line)
        for key, metrics in measured.items():
            found[key] |= {**(known[key].metrics if key in known else {}), **metrics}
    listener.progress(len(passes), len(passes))
    return found


_FAILURE = "failure"
"""In the place of metrics, among those that are kept: why an engine could not measure a run."""


def _judged(
    done: Done, points: Sequence[Point], one: Pass, settings: MeasureSettings, listener: Listener
) -> tuple[dict[str, dict[str, Any]], bool]:
    """Return the metrics of a pass that was made, by run key, and whether they are to be kept.

    In the place of metrics a run that an engine can't do has its failure, which is kept as well: it would fail again.
    """
    measured: dict[str, dict[str, Any]] = dict(_metrics(done.samples, points, one))
    for key in done.flushed.keys() & measured.keys():
        copy = done.flushed[key]
        measured[key] |= {"subnormal_weights": copy.n_subnormal, f"flushed_speedup/{one.name}": copy.speedup}
    for key in done.energy_mj.keys() & measured.keys():
        measured[key][f"energy_mj/{one.name}"] = done.energy_mj[key]
    disturbed = why_disturbed(done, one)
    if disturbed and settings.disturbed == "keep":
        listener.note(f"latency_ms/{one.name}: {disturbed}; kept, as measure.disturbed=keep says")
        disturbed = ""
    if disturbed:
        measured = {key: _to_one_digit(metrics) for key, metrics in measured.items()}
        listener.note(f"latency_ms/{one.name}: {disturbed}; the next time it is measured anew")
    if "" in done.failures:
        why = done.failures[""]
        listener.complain(f"latency_ms/{one.name}: not measured: {why}; the same command measures it")
        return measured, False
    return measured | {key: {_FAILURE: why} for key, why in done.failures.items()}, not disturbed


def _whole(measured: Mapping[str, Mapping[str, Any]]) -> Metrics:
    """Return the metrics of the runs that could be measured."""
    return {key: dict(metrics) for key, metrics in measured.items() if _FAILURE not in metrics}


def _to_one_digit(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return what a disturbed pass is worth: one digit of each, and no interval by which a speed-up could be judged."""
    return {
        name: value if name == "subnormal_weights" else float(f"{value:.1g}")
        for name, value in metrics.items()
        if not name.startswith(_ENDS)
    }


_ENDS = ("speedup_low/", "speedup_high/")


def kept_latencies(points: Sequence[Point], sweep: Sweep, store: Store, /) -> Metrics:
    """Return of the metrics of `measure_points` those that the store has."""
    kept: Metrics = {point.key: {} for point in points}
    for one in passes_of(sweep) if points else []:
        measured = store.get_json(_entry(points, one, sweep))
        if measured is not None and _is_of(measured, points):
            known = _known(points, one, store)
            for key, metrics in _whole(measured).items():
                kept[key] |= {**(known[key].metrics if key in known else {}), **metrics}
    return kept


def is_measured(points: Sequence[Point], sweep: Sweep, store: Store, /) -> bool:
    """Whether what `measure_points` gives is kept: it was measured on this machine, and undisturbed."""
    chosen = list(points)
    if not are_all_timed(points, sweep):
        results = {point.key: load_result(point.key, store) for point in points}
        metrics = {key: result.metrics for key, result in results.items() if result is not None}
        if len(metrics) < len(points):
            return False
        chosen = points_to_measure(points, sweep, metrics)
    return all(store.has(_entry(chosen, one, sweep)) for one in passes_of(sweep))


def _entry(points: Sequence[Point], one: Pass, sweep: Sweep) -> str:
    of_busy_machines = ".kept" if sweep.measure.disturbed == "keep" else ""
    return f"latency/{_pass_key(points, one, sweep)}{of_busy_machines}.json"


def _samples_of(entry: str) -> str:
    """Return where the samples are kept that a pass's metrics come from."""
    return entry.removesuffix(".json") + ".csv.gz"


def _is_of(measured: Mapping[str, object], points: Sequence[Point]) -> bool:
    """Whether what was kept is metrics of these very runs."""
    return measured.keys() == {point.key for point in points} and all(isinstance(m, dict) for m in measured.values())


def _report(listener: Listener, position: int, n_passes: int, share: float) -> None:
    listener.progress(position + share, n_passes)


def _found_entry(key: str, one: Pass) -> str:
    versions = engine_versions(one.blueprint.callable)
    content = [key, one.blueprint.identity(), one.batch, describe_machine(), versions, VERSION]
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


def _of_subnormals(measured: Mapping[str, Mapping[str, float]], points: Sequence[Point], one: Pass) -> list[str]:
    """Return a line for each network with subnormal weights: what they cost."""
    lines = []
    for point in points:
        metrics = measured.get(point.key, {})
        speedup = metrics.get(f"flushed_speedup/{one.name}")
        if speedup is not None:
            lines.append(
                f"latency_ms/{one.name}: {point}: {metrics['subnormal_weights']:,.0f} values are subnormal floats; "
                f"with these at zero it is {speedup:.2f}× as fast"
            )
    return lines


def _tell_failures(
    measured: Mapping[str, Mapping[str, Any]], points: Sequence[Point], one: Pass, listener: Listener
) -> None:
    for point in points:
        why = measured.get(point.key, {}).get(_FAILURE)
        if why is not None:
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


def _metrics(samples: pd.DataFrame, points: Sequence[Point], one: Pass) -> dict[str, dict[str, float]]:
    """Return the metrics by run key; each run's speed-up is against its own reference, where that was measured.

    Of batches there is the throughput as well: examples a second, at the median time of a batch.
    """
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
            metrics[key] = {f"{metric}/{one.name}": float(summary[metric].loc[key]) for metric in wanted}
            if one.batch > 1:
                seconds = float(summary["latency_ms"].loc[key]) / 1000
                metrics[key][f"throughput/{one.name}"] = one.batch / seconds
    return metrics


def _pass_key(points: Sequence[Point], one: Pass, sweep: Sweep) -> str:
    content = {
        "runs": sorted(point.key for point in points),
        "engine": one.blueprint.identity(),
        "batch": one.batch,
        "threads": one.threads,
        "seconds": sweep.measure.seconds,
        "machine": describe_machine(),
        "versions": engine_versions(one.blueprint.callable),
        "version": VERSION,
    }
    return digest(json.loads(json.dumps(content)))
