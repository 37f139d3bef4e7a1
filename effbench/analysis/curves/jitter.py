"""Which differences of a cost are savings, and which are jitter."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis.curves.averages import average_groups, point_numbers, read_runs
from effbench.analysis.curves.columns import parse_numbers
from effbench.analysis.curves.curve import Curve
from effbench.analysis.curves.labels import label_axes
from effbench.analysis.curves.pairs import base_of, pair_with_references

LATENCY, LATENCY_P90 = "latency_ms/", "latency_ms_p90/"
_LEAST_SPREAD = {"size_bytes": 0.02, "macs_effective": 0.02, "macs": 0.02}
"""Shares of a cost that are no saving: the entropy coder gives networks of one shape files of almost one size, and
weights that rounding made zero are no one's aim."""
_LEAST_LATENCY_SPREAD = 0.10
_LEAST_SPREAD_OF_INTERVALS = 0.02
"""For a latency whose speed-up has an interval, which says itself what is jitter."""
SPEEDUPS = {"median": "speedup/", "low": "speedup_low/", "high": "speedup_high/"}
_STRUCTURE = {"size_bytes": ("params",), "macs_effective": ("macs",), "macs": ("macs",), "latency": ("macs", "params")}
"""Counts that a cost follows where they change: what no axis declares can be removed as well, such as dead units."""
_ROUND_OFF = 1e-9
NOISY = 3.0
"""The 90th percentile as a multiple of the median from which on something else disturbed the timing."""


def least_spread(cost: str, /) -> float:
    """Return the share of a cost below which a difference is no saving: 0 for a cost that is not effbench's own.

    >>> least_spread("size_bytes"), least_spread("latency_ms/eager"), least_spread("energy")
    (0.02, 0.1, 0.0)
    """
    return _LEAST_LATENCY_SPREAD if cost.startswith((LATENCY, LATENCY_P90)) else _LEAST_SPREAD.get(cost, 0.0)


def varies(runs: pd.DataFrame, cost: str, /) -> bool:
    """Whether a cost differs between the points of one group by more than it jitters, as `varying_costs` says."""
    if not _is_moved(runs, cost):
        return False
    runs = read_runs(runs)
    if "control" in runs.columns:
        runs = runs[~runs["control"].to_numpy(dtype=bool)].reset_index(drop=True)
    values = parse_numbers(runs[cost])
    if values is None:
        raise ValueError(f"{cost} holds values that are not numbers")
    if not np.isfinite(values).any():
        return False
    if base_of(runs) == "reference":
        return _differs_from_references(runs, cost)
    numbers = point_numbers(runs)
    means = np.asarray(average_groups(runs[[cost]], numbers).means[cost], dtype=np.float64)
    known = means[np.isfinite(means)]
    return bool(len(known) and np.ptp(known) > least_spread(cost) * abs(known.max()))


def is_cheaper(curve: Curve, /) -> NDArray[np.bool_]:
    """Return which points are cheaper than their references by more than the cost jitters: (n_points,)."""
    references = curve.costs[curve.references]
    cheaper = curve.costs < references - least_spread(curve.cost) * np.abs(references)
    low = SPEEDUPS["low"] + curve.cost.removeprefix(LATENCY)
    if curve.cost.startswith(LATENCY) and curve.base == "reference" and low in curve.points.columns:
        ends = np.asarray(curve.points[low], dtype=np.float64)
        is_faster = (ends > 1) & (curve.costs < (1 - _LEAST_SPREAD_OF_INTERVALS) * references)
        cheaper = np.where(np.isfinite(ends), is_faster, cheaper)
    return np.asarray(cheaper)


def noise(curve: Curve, /) -> str:
    """Say that a latency was disturbed: by the point whose 90th percentile is farthest above its median, or "".

    As in "noisy: p90 21 ms beside a median of 1.1".
    """
    name = LATENCY_P90 + curve.cost.removeprefix(LATENCY)
    if not curve.cost.startswith(LATENCY) or name not in curve.points.columns:
        return ""
    p90 = np.asarray(curve.points[name], dtype=np.float64)
    ratios = np.nan_to_num(np.divide(p90, curve.costs, out=np.zeros(len(curve)), where=curve.costs > 0))
    if len(curve) == 0 or ratios.max() <= NOISY:
        return ""
    worst = int(np.argmax(ratios))
    return f"noisy: p90 {p90[worst]:.2g} ms beside a median of {curve.costs[worst]:.2g}"


def _is_moved(runs: pd.DataFrame, cost: str) -> bool:
    """Whether one of the swept axes moves a cost; where the frame does not say what they move, it may."""
    moves = runs.attrs.get("moves")
    if not moves:
        return True
    labels = [] if "point" not in runs.columns else [label_axes(str(label)) for label in runs["point"].unique()]
    named = {axis for axes in labels for axis in axes}
    moved = {cost for axis, costs in moves.items() if axis in named or not labels for cost in costs}
    kind = "latency" if cost.startswith("latency_ms") else cost
    return kind in moved or any(_differs_at_all(runs, name) for name in _STRUCTURE.get(kind, ()))


def _differs_at_all(runs: pd.DataFrame, name: str) -> bool:
    """Whether a count differs between a point and its reference: then something was removed, declared or not."""
    if name not in runs.columns or base_of(runs) != "reference":
        return False
    frame = read_runs(runs)
    pairs, n_points = pair_with_references(frame, numbers := point_numbers(frame)), int(numbers.max()) + 1
    own, reference = pairs.means_of(frame[name], n_points)
    return bool((np.abs(own - reference) > _ROUND_OFF * np.abs(reference)).any())


def _differs_from_references(runs: pd.DataFrame, cost: str) -> bool:
    numbers = point_numbers(runs)
    pairs, n_points = pair_with_references(runs, numbers), int(numbers.max()) + 1
    own, reference = pairs.means_of(runs[cost], n_points)
    ratios = np.divide(own, reference, out=np.full(n_points, np.nan), where=reference != 0)
    speedups = {
        end: pairs.means_of(runs[name], n_points)[0]
        for end, prefix in SPEEDUPS.items()
        if (name := prefix + cost.removeprefix(LATENCY)) in runs.columns and cost.startswith(LATENCY)
    }
    if "median" in speedups and np.isfinite(speedups["median"]).all():
        # Speed-ups come from rounds paired with the reference: they jitter less than the medians themselves.
        ratios = 1 / speedups["median"]
    distances = np.nan_to_num(np.abs(ratios - 1))
    is_moved = distances > least_spread(cost) + _ROUND_OFF
    if {"low", "high"} <= set(speedups):
        excludes_none = (speedups["low"] > 1) | (speedups["high"] < 1)
        is_known = np.isfinite(speedups["low"]) & np.isfinite(speedups["high"])
        is_moved = np.where(is_known, excludes_none & (distances >= _LEAST_SPREAD_OF_INTERVALS), is_moved)
    return bool(is_moved.any())
