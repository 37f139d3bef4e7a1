"""The params of runs: what a person would filter by. All the rest of the configuration is in the run's config.yaml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from effbench.checks.secrets import hide_in_values
from effbench.plan.point import Point
from effbench.plan.sweep import Sweep
from effbench.plan.watching import WATCHED
from effbench.tracking import names

LAYERS = "layers"
"""The option of a stage that gives single layers values of their own."""
_TRAINING = ("epochs", "lr", "batch_size", "optimizer")
MAIN = ("coder", *(f"{stage}.{option}" for stage in ("train", "finetune") for option in _TRAINING))
"""Keys of the configuration that are params of every run, beside its axes and what its network and data are."""
_ENGINES = ("engine", "engines")
_ASKED = ("tolerance", "saturation", "figure", "measure", *_ENGINES, "sweep", "store", "tracking", "device", "dry_run")
"""Keys that decide no run: params, which MLflow never changes, are not the place for them on a parent."""
_WATCHING = tuple(f"train.{name}" for name in WATCHED)


def run_params(point: Point) -> dict[str, Any]:
    """Return the params of a run: its axes, what it is made of, the trainings' main options, and every swept key."""
    config = _configuration(point)
    chosen = {
        **point.axes,
        "seed": point.seed,
        "model": point.network_name,
        "data": point.data_name,
        "task": point.chain.loaded_task().name,
        "recipe": point.config["recipe"]["name"],
        "rounds": point.config["recipe"]["rounds"],
        "side": point.chain.side,
        "eval_side": point.eval_side,
        **{name: config[name] for name in MAIN if config.get(name) is not None},
    }
    swept = {name: config.get(name, value) for name, value in point.swept.items() if name not in chosen}
    params: dict[str, Any] = hide_in_values({**chosen, **swept})
    return params


def sweep_params(sweep: Sweep) -> dict[str, Any]:
    """Return the params of the parent run: what its runs have in common, and no later command of it changes."""
    common: dict[str, Any] = {}
    for position, point in enumerate(sweep.plan.points):
        params = run_params(point)
        common = params if position == 0 else {k: v for k, v in common.items() if params.get(k) == v}
    return {name: value for name, value in common.items() if not _is_asked(name)}


def asked_of_the_sweep(sweep: Sweep) -> dict[str, str]:
    """Return tags of what was last asked of the whole sweep: another command may ask otherwise, of the same runs."""
    config: dict[str, Any] = hide_in_values(_configuration(sweep.plan.points[0]))
    return {f"{names.PREFIX}{name}": str(value) for name, value in config.items() if _is_asked(name)}


def _is_asked(name: str) -> bool:
    return name.partition(".")[0] in _ASKED or name in _WATCHING


def _configuration(point: Point) -> dict[str, Any]:
    """Return the effective configuration of a run, flat, but for its axes."""
    config = {name: node for name, node in point.config.items() if name not in point.axes}
    options = {"model": point.chain.network.options, "data": point.chain.data.options}
    return {name: value for key, node in {**config, **options}.items() for name, value in _flat(key, node)}


def _flat(prefix: str, node: Any) -> Iterator[tuple[str, Any]]:
    if prefix.endswith(f".{LAYERS}") and isinstance(node, Mapping):  # patterns of layer names are no names of params
        yield prefix, ", ".join(f"{pattern}: {value}" for pattern, value in node.items())
    elif isinstance(node, Mapping):
        for key, value in node.items():
            if key != "_target_":
                yield from _flat(f"{prefix}.{key}", value)
    else:
        yield prefix, node
