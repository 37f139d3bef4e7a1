"""How real a run's savings are: what its techniques can save at all, and what engines were measured to make of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import pandas as pd
import torch

from effbench.analysis import verdicts
from effbench.measure.compute import count_cost
from effbench.plan.blueprint import Blueprint
from effbench.plan.point import Point
from effbench.plan.sources import build_network, load_data, load_task
from effbench.plan.sweep import Sweep
from effbench.run.results import RunResult
from effbench.tracking import names

REALNESS = ("simulated", "masked", "removed", "executed")
"""How real a saving is, the least real first."""


def realised(
    point: Point, sweep: Sweep, result: RunResult | None, reference: Mapping[str, float] | None
) -> dict[str, str]:
    """Return by cost how real the point's saving is: as real as the least real of its techniques.

    Multiply-adds tell it themselves: `macs` fall only where something is removed, `macs_effective` where it is masked.
    What is removed without being declared (dead units, layers of a network that flattens smaller images) saves bytes.
    """
    found: dict[str, str] = {}
    before = sweep.plan.reference_of(point).axes
    for axis, value in point.axes.items():
        reached = value if result is None else result.metrics.get(f"{axis}_reached", value)
        if before[axis] not in (value, reached):  # rounds may have ended before the first
            for cost, how in sweep.axes[axis].realised.items():
                found[cost] = min(found.get(cost, how), how, key=REALNESS.index)
    if result is None or point.is_reference:
        return found
    whole = _cost_before(sweep.plan.reference_of(point)) if reference is None else reference
    if result.metrics["macs"] < whole["macs"]:
        found["macs"] = "removed"
        if found.get("latency", "masked") == "masked":
            found["latency"] = "removed"
    elif "macs" not in found and result.metrics["macs_effective"] < whole["macs_effective"]:
        found["macs"] = "masked"
    if result.metrics["params"] < whole["params"]:
        found.setdefault("bytes", "removed")
    return found


def _cost_before(reference: Point) -> Mapping[str, float]:
    """Return what a reference's network costs before anything is done to it, by the metrics' names."""
    chain = reference.chain
    return _cost_of(chain.network, chain.task, chain.data, chain.side, reference.input_size)


@lru_cache(maxsize=64)
def _cost_of(
    network: Blueprint, task: Blueprint, data: Blueprint, side: int, size: tuple[int, int, int]
) -> dict[str, float]:
    with torch.random.fork_rng(devices=[]):
        cost = count_cost(build_network(network, load_task(task), load_data(data), side), size)
    return {"macs": cost.macs, "macs_effective": cost.macs_effective, "params": cost.params}


def engine_tags(frame: pd.DataFrame, /) -> dict[str, dict[str, str]]:
    """Return tags of the runs that were measured on engines, by run key: what is real of their savings there.

    frame: the runs of a sweep, a row each. `effbench.realised/latency/<engine>` is executed where the engine's file
    holds weights for its integer kernels, removed where the network has fewer multiply-adds than its reference, masked
    where only more of its weights are zero, else simulated; `effbench.verdict/<engine>` says whether it is faster.
    """
    tags: dict[str, dict[str, str]] = {}
    by_key = {str(row["run_key"]): row for _, row in frame.iterrows()} if len(frame) else {}
    said = verdicts(frame)
    for place, (_, row) in enumerate(frame.iterrows()):
        reference = by_key.get(str(row["reference_key"]))
        if reference is None or bool(row["reference"]):
            continue
        own = tags.setdefault(str(row["run_key"]), {})
        for name in said.columns:
            engine, verdict = name.removeprefix("verdict/"), str(said[name].iloc[place])
            if verdict:
                own[f"{names.VERDICT}/{engine}"] = verdict
                own[f"{names.REALISED}/latency/{engine}"] = _on_engine(row, reference, engine)
    return {key: own for key, own in tags.items() if own}


def _on_engine(row: pd.Series, reference: pd.Series, engine: str) -> str:
    share = row.get(f"int8_share/{engine.partition('.t')[0]}")
    if isinstance(share, float) and share > 0:
        return "executed"
    if row["macs"] < reference["macs"]:
        return "removed"
    return "masked" if row["macs_effective"] < reference["macs_effective"] else "simulated"
