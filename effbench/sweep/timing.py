"""The last part of a sweep: one quiet process times its models, interleaved with their reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from effbench.checks.errors import first_line
from effbench.checks.text import few_names
from effbench.measure.latency import summarise_latency
from effbench.measure.rounds import samples_frame
from effbench.plan.point import Point
from effbench.plan.sweep import MeasureSettings, Sweep
from effbench.run.apart import ProcessDied, call_apart
from effbench.run.outcomes import RunError
from effbench.run.parcel import why_not_sent
from effbench.run.results import load_result
from effbench.run.store import Store
from effbench.run.through_engine import Found
from effbench.sweep.chosen_points import are_all_timed, points_to_measure
from effbench.sweep.kept_passes import KeptPass, keep_files, keep_pass, kept_pass, known_files
from effbench.sweep.passes import Done, Pass, as_csv, passes_of, sample_points, why_disturbed

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
    in a process of its own. One that was disturbed is told, and kept only where `measure.disturbed` says so; then it is
    told whenever it is taken.
    """
    listener = listener or Listener()
    found: Metrics = {point.key: {} for point in points}
    passes = passes_of(sweep)
    noted: list[str] = []
    for position, one in enumerate(passes if points else []):
        listener.progress(position, len(passes))
        known = known_files(points, one, store)
        made = kept_pass(points, one, sweep, store)
        if made is None or (known and known.keys() != made.metrics.keys() - made.failures.keys()):
            done = _measured(points, one, sweep, store, partial(_report, listener, position, len(passes)), known)
            known |= done.found
            keep_files(done.found, one, store)
            made = _judged(done, points, one, sweep.measure, listener)
            if "" not in done.failures and (not made.disturbed or sweep.measure.disturbed == "keep"):
                keep_pass(made, points, one, sweep, store)
        is_rough = bool(made.disturbed) and sweep.measure.disturbed == "discard"
        if made.disturbed:
            listener.note(f"latency_ms/{one.name}: {made.disturbed}; {_READ_ROUGHLY if is_rough else _TAKEN}")
        for point in points:
            if point.key in made.failures:
                why = made.failures[point.key]
                listener.complain(f"latency_ms/{one.name}: {point} could not be measured: {why}")
        if made.samples:
            listener.keep(f"latency/{one.name}.csv.gz", made.samples)
        for line in _notes(known, points, one):
            if line not in noted:  # other threads run the same file
                noted.append(line)
                listener.note(line)
        for key, metrics in _with_throughput(made, one, is_rough=is_rough).items():
            found[key] |= {**(known[key].metrics if key in known else {}), **metrics}
    for line in _of_subnormals(found, points, passes):
        listener.note(line)
    listener.progress(len(passes), len(passes))
    return found


_TAKEN = "its times are taken as they are, as measure.disturbed=keep says"
_READ_ROUGHLY = "read its times to one digit; the next time it is measured anew"


def _judged(done: Done, points: Sequence[Point], one: Pass, settings: MeasureSettings, listener: Listener) -> KeptPass:
    """Return what a pass that was made gave: its metrics, and why they are not to be relied on."""
    measured: dict[str, dict[str, Any]] = dict(_metrics(done.samples, points, name=one.name))
    for key in done.flushed.keys() & measured.keys():
        copy = done.flushed[key]
        measured[key] |= {"subnormal_weights": copy.n_subnormal, f"flushed_speedup/{one.name}": copy.speedup}
    for key in done.energy_mj.keys() & measured.keys():
        measured[key][f"energy_mj/{one.name}"] = done.energy_mj[key]
    disturbed = why_disturbed(done, one)
    if disturbed and settings.disturbed == "discard":
        measured = {key: _to_one_digit(metrics) for key, metrics in measured.items()}
    if "" in done.failures:
        why = done.failures[""]
        listener.complain(f"latency_ms/{one.name}: not measured: {why}; the same command measures it")
    failures = {key: why for key, why in done.failures.items() if key}
    return KeptPass(metrics=measured, failures=failures, samples=as_csv(done.samples), disturbed=disturbed)


def _with_throughput(made: KeptPass, one: Pass, *, is_rough: bool) -> Metrics:
    """Return the metrics of a pass; of batches with examples a second, at the median time of a batch."""
    metrics = {key: dict(of_run) for key, of_run in made.metrics.items()}
    for of_run in metrics.values() if one.batch > 1 else ():
        per_second = 1000 * one.batch / of_run[f"latency_ms/{one.name}"]
        of_run[f"throughput/{one.name}"] = float(f"{per_second:.1g}") if is_rough else per_second
    return metrics


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
        made = kept_pass(points, one, sweep, store)
        if made is not None:
            known = known_files(points, one, store)
            for key, metrics in _with_throughput(made, one, is_rough=False).items():
                kept[key] |= {**(known[key].metrics if key in known else {}), **metrics}
    return kept


def is_measured(points: Sequence[Point], sweep: Sweep, store: Store, /) -> bool:
    """Whether what `measure_points` gives is kept: measured on this machine, undisturbed unless that may be."""
    chosen = list(points)
    if not are_all_timed(points, sweep):
        results = {point.key: load_result(point.key, store) for point in points}
        metrics = {key: result.metrics for key, result in results.items() if result is not None}
        if len(metrics) < len(points):
            return False
        chosen = points_to_measure(points, sweep, metrics)
    return all(kept_pass(chosen, one, sweep, store) is not None for one in passes_of(sweep))


def _report(listener: Listener, position: int, n_passes: int, share: float) -> None:
    listener.progress(position + share, n_passes)


def _notes(known: Mapping[str, Found], points: Sequence[Point], one: Pass) -> list[str]:
    """Return a line for each thing that is otherwise than was asked for, with the runs that it is said of."""
    said: dict[str, list[str]] = {}
    for point in points:
        for note in known[point.key].notes if point.key in known else ():
            said.setdefault(note, []).append(str(point))
    return [f"{one.file_name}: {few_names(names)}: {note}" for note, names in said.items()]


def _of_subnormals(metrics: Metrics, points: Sequence[Point], passes: Sequence[Pass]) -> list[str]:
    """Return what subnormal weights cost: a line for each run that they slow down on an engine; else one for all."""
    lines, counts = [], dict[str, int]()
    for one in passes:
        for point in points:
            speedup = metrics[point.key].get(f"flushed_speedup/{one.name}")
            if speedup is None:
                continue
            counts[point.key] = int(metrics[point.key]["subnormal_weights"])
            if speedup > _SLOWED:
                lines.append(
                    f"latency_ms/{one.name}: {point}: {counts[point.key]:,} values are subnormal floats; with these at "
                    f"zero it is {speedup:.2f}× as fast"
                )
    if counts and not lines:
        most = max(counts.values())
        return [
            f"subnormal floats are among the weights of {len(counts)} runs (up to {most:,}); with these at zero none "
            f"is more than {_SLOWED:g}× as fast on any engine"
        ]
    return lines


_SLOWED = 1.05
"""What subnormal weights may cost without a word of their own: copies without them being so much faster."""


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
