"""What is logged of a run: names and values, for whatever tracker."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from effbench.plan.point import Point, load_data
from effbench.plan.sweep import Sweep
from effbench.run.correctness import pack_correctness
from effbench.run.results import RunResult
from effbench.run.workers import RunError
from effbench.sweep.artifacts import table_files
from effbench.sweep.environment import describe_environment
from effbench.tracking import names
from effbench.tracking.tracker import Dataset, RunRecord

# Where PyYAML has its dumper in C, that takes a tenth of the time.
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

REALNESS = ("simulated", "masked", "removed", "executed")
"""How real a saving is, the least real first."""


def describe_run(
    point: Point, sweep: Sweep, *, result: RunResult | None = None, error: RunError | None = None
) -> RunRecord:
    """Return the record of a run that ended with a result, or with an error."""
    data = load_data(point.data)
    tags = {
        names.REFERENCE: point.reference_key or point.key,
        names.POINT: point.label,
        names.AXES: ",".join(sweep.plan.axes),
        names.STEPS: " → ".join(str(step) for step in point.steps),
        **{f"{names.REALISED}/{cost}": how for cost, how in _realised(point, sweep).items()},
        **describe_environment(),
    }
    files = {"config.yaml": yaml.dump(json.loads(json.dumps(point.config)), Dumper=_DUMPER, sort_keys=False).encode()}
    if result is not None:
        tags[names.CACHED] = ",".join(result.cached_steps)
        if result.unknown_operations:
            tags[names.UNKNOWN] = ",".join(result.unknown_operations)
        correctness = pack_correctness(val=result.correct_val, test=result.correct_test)
        files |= {"model.effb": result.blob, names.CORRECTNESS: correctness}
        files |= table_files(result.tables)
    if error is not None:
        tags[names.ERROR] = error.summary
        files["traceback.txt"] = error.trace.encode()
    return RunRecord(
        name=str(point),
        key=point.key,
        params=_run_params(point, sweep),
        tags=tags,
        metrics={} if result is None else result.metrics,
        files=files,
        dataset=Dataset(
            name=data.name,
            digest=data.fingerprint,
            source=point.data.target,
            sizes={split: data.n_examples(split) for split in ("train", "val", "test")},
        ),
    )


def sweep_params(sweep: Sweep) -> dict[str, Any]:
    """Return the params of the parent run: what its runs have in common."""
    common: dict[str, Any] = {}
    for position, point in enumerate(sweep.plan.points):
        params = _run_params(point, sweep)
        common = params if position == 0 else {k: v for k, v in common.items() if params.get(k) == v}
    return common


def _run_params(point: Point, sweep: Sweep) -> dict[str, Any]:
    """Return the effective configuration, flat, with the axes under their own names.

    The options of every technique of the sweep are there in every run: what differs between runs is what was swept.
    """
    techniques = [name for name in sweep.plan.step_names if name not in ("train", "finetune")]
    config = {k: v for k, v in point.config.items() if k not in ("stage", "recipe", "model", "data", *point.axes)}
    return {
        **point.axes,
        "seed": point.seed,
        "model": point.network_name,
        "data": point.data_name,
        "recipe": point.config["recipe"]["name"],
        "rounds": point.config["recipe"]["rounds"],
        **dict(_flat("recipe.until", point.config["recipe"].get("until", {}))),
        "side": point.side,
        "eval_side": point.eval_side,
        **dict(_flat("model", point.network.options)),
        **dict(_flat("data", point.data.options)),
        **{k: v for name in techniques for k, v in _flat(f"stage.{name}", point.config["stage"][name])},
        **{k: v for name, node in config.items() for k, v in _flat(name, node)},
    }


def _flat(prefix: str, node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "_target_":
                continue
            yield from _flat(f"{prefix}.{key}", value)
    else:
        yield prefix, node


def _realised(point: Point, sweep: Sweep) -> dict[str, str]:
    """Return by cost how real the point's saving is: as real as the least real of its techniques."""
    found: dict[str, str] = {}
    for axis, value in point.axes.items():
        if value != sweep.neutral[axis]:
            for cost, how in sweep.realised[axis].items():
                found[cost] = min(found.get(cost, how), how, key=REALNESS.index)
    return found
