"""A tracked sweep, measured again: on other engines, on this machine, or by what a phone has printed."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from effbench.plan.point import Point
from effbench.plan.sweep import Sweep
from effbench.run.results import RunResult, keep_result
from effbench.run.store import Store
from effbench.sweep.engine_facts import version_tags
from effbench.sweep.replay import Logged, plan_replay, read_logged
from effbench.sweep.timing import Listener, measure_points
from effbench.tracking import names
from effbench.tracking.additions import add_to_runs, tags_of
from effbench.tracking.parents import add_file, read_sweep_parent
from effbench.tracking.read import load_runs
from effbench.tracking.tracker import TrackingError

FILE_OF = f"{names.PREFIX}file/"
"""Prefix of tags: the SHA-256 of the file that was exported for an engine."""
_MACHINE = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_LITERT = re.compile(r"Inference \(avg\): *([0-9.e+]+)")
_EXECUTORCH = re.compile(r"executed successfully (\d+) time\(s\) in ([0-9.]+) ms")
_ONNX = re.compile(r"Average inference time cost total: *([0-9.]+) ms")


@dataclass(frozen=True, kw_only=True)
class Again:
    """What was measured of a tracked sweep."""

    frame: pd.DataFrame
    """A row for each run: point and seed, then the new metrics."""
    notes: Sequence[str]
    unmeasured: Sequence[str]
    """Whose latency could not be measured, and why: a line each."""


def machine_suffix(machine: str, /) -> str:
    """Return what the names of metrics of another machine end with. ValueError for what can be no such name."""
    if not _MACHINE.fullmatch(machine) or not machine.strip("."):  # it is a folder of the parent's files, too
        raise ValueError(f"machine={machine}: must be a name of letters, digits, _ . and -, such as pixel-8")
    return f":{machine}"


def measure_again(
    sweep: str,
    engines: str,
    /,
    *,
    machine: str,
    overrides: Sequence[str] = (),
    experiment: str = "effbench",
    tracking_uri: str | None = None,
    progress: Callable[[float, int], None] = lambda done, total: None,
) -> Again:
    """Measure the finished runs of a tracked sweep, from the files that were logged, and add what is found to them.

    engines: as on the command line, "onnxruntime,openvino". machine: its name, which the metrics' names end with, as in
    latency_ms/onnxruntime:pi5; all samples are files of the sweep's parent, latency/<machine>/<engine>.csv.gz.
    overrides: such as measure.seconds=2. ValueError where the sweep or an engine is not there.
    """
    suffix = machine_suffix(machine)
    runs = _runs_of(sweep, experiment, tracking_uri)
    arguments = [f"engine={engines}", "device=cpu", "dry_run=false", *overrides]
    with tempfile.TemporaryDirectory(prefix="effbench-latency-") as folder:
        store = Store(Path(folder))
        run_of: dict[str, str] = {}
        points: list[Point] = []
        for run_id in map(str, runs["run_id"]):
            logged = read_logged(run_id, experiment=experiment, tracking_uri=tracking_uri)
            replayed = plan_replay(logged, arguments)
            keep_result(replayed.point.key, _result(logged), store)
            run_of[replayed.point.key] = run_id
            points.append(replayed.point)
            settings = replayed.sweep
        notes: list[str] = []
        unmeasured: list[str] = []
        samples: dict[str, bytes] = {}
        listener = Listener(progress=progress, complain=unmeasured.append, note=notes.append, keep=samples.__setitem__)
        found = measure_points(points, _all_of(settings, points), store, listener)
    metrics = {run_of[key]: _renamed(values, suffix) for key, values in found.items()}
    versions = version_tags(settings, found)
    tags = {run_of[key]: {name + suffix: text for name, text in own.items()} for key, own in versions.items()}
    add_to_runs(metrics, tags, tracking_uri=tracking_uri)
    try:
        parent = read_sweep_parent(str(runs["sweep"].iloc[0]), experiment=experiment, tracking_uri=tracking_uri)
        for name, content in samples.items():
            place, _, file = name.rpartition("/")
            add_file(parent.run_id, f"{place}/{machine}/{file}", content, tracking_uri=tracking_uri)
    except (ValueError, TrackingError) as error:  # such as a deleted parent: the runs have their figures all the same
        notes.append(f"the single times of the passes are not kept: {error}")
    return Again(frame=_frame(runs, metrics), notes=notes, unmeasured=unmeasured)


def read_again(
    sweep: str,
    file: Path,
    /,
    *,
    machine: str,
    experiment: str = "effbench",
    tracking_uri: str | None = None,
) -> Again:
    """Add to the runs of a sweep what another machine's benchmark has printed of their exported files.

    file: JSON, a list of {"sha256": of the exported file (its card has it), "output": what the benchmark printed}, or
    one of them: LiteRT's benchmark_model, ExecuTorch's executor_runner, onnxruntime_perf_test. `threads` is 1 unless it
    says otherwise. ValueError, in one line, where something of it can't be read, or is of no run of the sweep.
    """
    suffix = machine_suffix(machine)
    runs = _runs_of(sweep, experiment, tracking_uri)
    tags = tags_of(map(str, runs["run_id"]), FILE_OF, tracking_uri=tracking_uri)
    files: dict[str, list[tuple[str, str]]] = {}
    for run_id, own in tags.items():
        for engine, digest in own.items():
            files.setdefault(digest, []).append((run_id, engine))
    metrics: dict[str, dict[str, float]] = {}
    for number, entry in enumerate(_entries(file), start=1):
        digest = str(entry.get("sha256", ""))
        if digest not in files:
            raise ValueError(
                f"read={file}: entry {number}: no exported file of sweep {sweep} has the digest {digest!r}"
            )
        run_id, engine = _only(files[digest], entry, where=f"read={file}: entry {number}")
        threads = entry.get("threads", 1)
        name = engine + (f".t{threads}" if threads != 1 else "")
        try:
            taken = _milliseconds(str(entry.get("output", "")))
        except ValueError:
            taken = None
        if taken is None:
            raise ValueError(
                f"read={file}: entry {number}: its output tells no time that benchmark_model, executor_runner or "
                "onnxruntime_perf_test prints"
            )
        metrics.setdefault(run_id, {})[f"latency_ms/{name}{suffix}"] = taken
    add_to_runs(metrics, {}, tracking_uri=tracking_uri)
    return Again(frame=_frame(runs[runs["run_id"].isin(metrics)], metrics), notes=(), unmeasured=())


def note_export(run_id: str, engine: str, path: Path, /, *, tracking_uri: str | None = None) -> None:
    """Tag a run with the digest of the file that was exported of it, so that what times it elsewhere finds it."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    add_to_runs({}, {run_id: {f"{FILE_OF}{engine}": digest}}, tracking_uri=tracking_uri)


def _only(places: Sequence[tuple[str, str]], entry: Mapping[str, object], *, where: str) -> tuple[str, str]:
    """Return the run and engine that an entry is of. ValueError where several have the file, and it does not say."""
    named = [place for place in places if entry.get("engine", place[1]) == place[1]]
    if len(named) != 1:
        engines = ", ".join(sorted({engine for _, engine in places}))
        raise ValueError(
            f'{where}: its file is that of {len(places)} exports ({engines}); say "engine" in the entry, and export '
            "runs whose networks are equal one at a time"
        )
    return named[0]


def _runs_of(sweep: str, experiment: str, tracking_uri: str | None) -> pd.DataFrame:
    runs = load_runs(experiment, sweep=sweep, tracking_uri=tracking_uri)
    if not len(runs):
        raise ValueError(f"sweep={sweep}: has no finished run")
    return runs


def _entries(file: Path) -> list[Mapping[str, object]]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"read={file}: can't be read ({getattr(error, 'strerror', None) or error})") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"read={file}: is no JSON ({error})") from None
    entries = content if isinstance(content, list) else [content]
    if not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f'read={file}: must hold entries such as {{"sha256": "…", "output": "…"}}')
    return entries


def _milliseconds(output: str) -> float | None:
    """Return the mean time of one inference that a benchmark has printed; None where it tells none.

    >>> _milliseconds("Inference timings in us: Init: 561, First inference: 9120, Inference (avg): 4250.5")
    4.2505
    >>> _milliseconds("Model executed successfully 200 time(s) in 900.0 ms.")
    4.5
    """
    if (found := _LITERT.search(output)) is not None:
        return float(found[1]) / 1000
    if (found := _EXECUTORCH.search(output)) is not None:
        return float(found[2]) / int(found[1])
    return float(found[1]) if (found := _ONNX.search(output)) is not None else None


def _result(logged: Logged) -> RunResult:
    """Return a logged run as the store keeps it: what timing asks for is its file."""
    metrics = {name: value for name, value in logged.metrics.items() if isinstance(value, float)}
    return RunResult(
        metrics=metrics,
        cached_steps=(),
        unknown_operations=(),
        blob=logged.blob,
        counts_val=logged.counts["validation"],
        counts_test=logged.counts["test"],
    )


def _all_of(settings: Sweep, points: Sequence[Point]) -> Sweep:
    return replace(settings, plan=type(settings.plan).of(points))


def _renamed(metrics: Mapping[str, float], suffix: str) -> dict[str, float]:
    return {f"{name}{suffix}": value for name, value in metrics.items()}


def _frame(runs: pd.DataFrame, metrics: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    known = [name for name in ("point", "seed") if name in runs.columns]
    rows = [{**dict(runs.loc[index, known]), **metrics.get(str(runs.loc[index, "run_id"]), {})} for index in runs.index]
    return pd.DataFrame(rows)
