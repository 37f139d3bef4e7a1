"""What the store keeps of passes: what was timed, and what is known of the files that engines run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from effbench.measure.engine import engine_versions
from effbench.plan.keys import digest
from effbench.plan.point import Point
from effbench.plan.sweep import Sweep
from effbench.run.store import Store
from effbench.run.through_engine import Found
from effbench.sweep.environment import describe_machine
from effbench.sweep.passes import Pass

VERSION = 3
"""Bumped when latencies come to mean something else."""
_FAILURE = "failure"
"""In the place of a run's metrics: why an engine could not measure it. It would fail again."""


@dataclass(frozen=True, kw_only=True)
class KeptPass:
    """What a pass gave, as it is kept."""

    metrics: Mapping[str, Mapping[str, float]]
    """Of the runs that could be measured, by run key."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """Why the others could not be, by run key."""
    samples: bytes = b""
    """All of them, as a compressed table."""
    disturbed: str = ""
    """Why the times are not to be relied on."""


def kept_pass(points: Sequence[Point], one: Pass, sweep: Sweep, store: Store, /) -> KeptPass | None:
    """Return what is kept of a pass: an undisturbed one, or any where `measure.disturbed` is keep; else None."""
    entry = _entry(points, one, sweep)
    found = _read(store.get_json(f"{entry}.json"), points)
    if found is not None:
        return replace(found, samples=store.get(f"{entry}.csv.gz") or b"")
    if sweep.measure.disturbed == "keep":
        busy = store.get_json(f"{entry}{_BUSY}.json") or {}
        found = _read(busy.get("runs"), points)
        if found is not None:
            samples = store.get(f"{entry}{_BUSY}.csv.gz") or b""
            return replace(found, samples=samples, disturbed=str(busy.get("disturbed")))
    return None


def keep_pass(made: KeptPass, points: Sequence[Point], one: Pass, sweep: Sweep, store: Store, /) -> None:
    """Keep what a pass gave; what was disturbed is kept apart, for those who ask for it."""
    runs = {**made.metrics, **{key: {_FAILURE: why} for key, why in made.failures.items()}}
    entry = _entry(points, one, sweep) + (_BUSY if made.disturbed else "")
    store.put_json(f"{entry}.json", {"disturbed": made.disturbed, "runs": runs} if made.disturbed else runs)
    store.put(f"{entry}.csv.gz", made.samples)


def known_files(points: Sequence[Point], one: Pass, store: Store, /) -> dict[str, Found]:
    """Return what is kept of the runs' networks on an engine, by run key."""
    kept = {point.key: store.get_json(_file_entry(point.key, one)) for point in points}
    found = {key: Found.of_plain(entry.get(key)) for key, entry in kept.items() if isinstance(entry, dict)}
    return {key: one for key, one in found.items() if one is not None}


def keep_files(found: Mapping[str, Found], one: Pass, store: Store, /) -> None:
    """Keep what is known of runs' networks on an engine."""
    for key, of_run in found.items():
        store.put_json(_file_entry(key, one), {key: of_run.to_plain()})


_BUSY = ".busy"


def _read(runs: object, points: Sequence[Point]) -> KeptPass | None:
    """Return metrics and failures of what was kept, if it is of these very runs."""
    if not isinstance(runs, dict) or runs.keys() != {point.key for point in points}:
        return None
    if not all(isinstance(of_run, dict) for of_run in runs.values()):
        return None
    failures = {key: str(of_run[_FAILURE]) for key, of_run in runs.items() if _FAILURE in of_run}
    metrics = {key: of_run for key, of_run in runs.items() if key not in failures}
    return KeptPass(metrics=metrics, failures=failures)


def _entry(points: Sequence[Point], one: Pass, sweep: Sweep) -> str:
    content = {
        "runs": sorted(point.key for point in points),
        "engine": one.blueprint.identity(),
        "batch": one.batch,
        "threads": one.threads,
        "seconds": sweep.measure.seconds,
        "machine": describe_machine(),
        "versions": engine_versions(one.blueprint.callable, one.blueprint.options),
        "version": VERSION,
    }
    return f"latency/{digest(json.loads(json.dumps(content)))}"


def _file_entry(key: str, one: Pass) -> str:
    versions = engine_versions(one.blueprint.callable, one.blueprint.options)
    content = [key, one.blueprint.identity(), one.batch, describe_machine(), versions, VERSION]
    return f"latency/{digest(json.loads(json.dumps(content)))}.json"
