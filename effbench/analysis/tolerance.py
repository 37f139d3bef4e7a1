"""Method "tolerance": the cheapest point whose quality is within a tolerance of its reference's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from effbench.analysis.curve import Curve
from effbench.analysis.jitter import is_cheaper, least_spread
from effbench.analysis.words import at_chance

DEFAULT_TOLERANCE = 0.02
Outcome = Literal["chosen", "nothing", "not reached", "none"]

# Qualities are counts divided by counts: differences far below one example are round-off, not losses.
_ROUND_OFF = 1e-9


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What came of looking for the cheapest acceptable point."""

    outcome: Outcome
    """chosen: `row` is acceptable and `rival`, cheaper, is not. nothing: no point cheaper than the reference, `row`,
    is; `rival` is the best of them. not reached: the cheapest point, `row`, still is. none: there is no answer."""
    row: int | None = None
    rival: int | None = None
    """None where nothing is cheaper than the chosen row."""
    problem: str = ""
    """Why there is no answer."""


def choose_within(curve: Curve, /, *, tolerance: float = DEFAULT_TOLERANCE) -> Choice:
    """Choose the cheapest point within `tolerance` of its reference's quality.

    tolerance: in what the quality's column holds (0.02 is two percentage points of a fraction), inclusive, at least 0.
    Points whose reference learned nothing, with any seed, are no candidates, nor is what is cheaper by less than such
    costs jitter. ValueError for another tolerance.
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"tolerance must be a finite number of at least 0, got {tolerance}")
    problem = _problem(curve, tolerance)
    if problem:
        return Choice(outcome="none", problem=problem)
    acceptable = _has_live_reference(curve, tolerance) & (curve.losses <= tolerance + _slack(curve))
    if curve.base == "most accurate":
        return _choose_among_equals(curve, acceptable)
    points = np.flatnonzero(_candidates(curve, tolerance))
    cheaper = points[is_cheaper(curve)[points]]
    if len(cheaper) == 0:
        whose = "its" if curve.has_several_references else "the"
        return Choice(outcome="none", problem=f"no point is cheaper than {whose} reference")
    if not acceptable[cheaper].any():
        best = int(cheaper[np.argmin(curve.losses[cheaper])])
        return Choice(outcome="nothing", row=int(curve.references[best]), rival=best)
    row = int(cheaper[np.argmax(acceptable[cheaper])])
    if curve.costs[row] == curve.costs[points[0]]:
        return Choice(outcome="not reached", row=row)
    return Choice(outcome="chosen", row=row, rival=_rival(curve, row, points))


def tolerated_costs(
    curve: Curve, losses: NDArray[np.float64], /, *, tolerance: float = DEFAULT_TOLERANCE
) -> NDArray[np.float64]:
    """Return the cost that `choose_within` would choose for each of other losses of the points: (n,).

    losses: (n, n_points), against each point's own reference.
    """
    allowed = tolerance + _slack(curve)
    if curve.base == "most accurate":
        losses = losses - losses.min(axis=1, keepdims=True)  # another one may be the most accurate
        return np.asarray(curve.costs[np.argmax(losses <= allowed, axis=1)])
    acceptable = (losses <= allowed) & is_cheaper(curve) & _candidates(curve, tolerance)
    references = curve.costs[curve.references[np.argmin(np.where(is_cheaper(curve), losses, np.inf), axis=1)]]
    return np.asarray(np.where(acceptable.any(axis=1), curve.costs[np.argmax(acceptable, axis=1)], references))


def _problem(curve: Curve, tolerance: float) -> str:
    """Say why no point can be chosen; "" where one can."""
    if curve.base == "missing":
        return "the reference is not among the runs: it failed, or was left out"
    if len(curve) < 2:
        return f"2 points are needed, there {'is 1' if len(curve) == 1 else f'are {len(curve)}'}"
    if not _has_live_reference(curve, tolerance).any():
        dead = _runs_at_chance(curve, curve.reference, tolerance)
        is_dead = curve.above_chance[curve.reference] <= tolerance + _slack(curve)[curve.reference]
        return at_chance(curve, curve.reference, tolerance, rows=None if is_dead else dead)
    return ""


def _has_live_reference(curve: Curve, tolerance: float) -> NDArray[np.bool_]:
    """Return whose reference is better than chance, by more than the tolerance and with each seed: (n_points,)."""
    dead = curve.above_chance <= tolerance + _slack(curve)
    for reference in np.unique(curve.references):
        dead[curve.references == reference] |= len(_runs_at_chance(curve, int(reference), tolerance)) > 0
    return ~dead


def _runs_at_chance(curve: Curve, reference: int, tolerance: float) -> NDArray[np.int64]:
    """Return the rows of a reference's runs, of known seeds, that are not better than chance by more than a tolerance.

    A seed that learned nothing would lower the bar for all points.
    """
    none = np.zeros(0, dtype=np.int64)
    if curve.quality is None or math.isnan(curve.quality.chance) or "seed" not in curve.runs.columns:
        return none
    rows = curve.pairs.runs[curve.pairs.points == reference]
    if curve.runs["seed"].iloc[rows].isna().any():
        return none
    values = np.asarray(curve.runs[curve.quality_column], dtype=np.float64)[rows]
    slack = _ROUND_OFF * np.maximum(1.0, np.abs(values))
    return np.asarray(rows[curve.sign * (values - curve.quality.chance) <= tolerance + slack])


def _candidates(curve: Curve, tolerance: float) -> NDArray[np.bool_]:
    """Return the points that may be chosen: no references, and none whose reference learned nothing: (n_points,)."""
    is_reference = np.isin(np.arange(len(curve)), curve.references)
    return _has_live_reference(curve, tolerance) & ~is_reference


def _choose_among_equals(curve: Curve, acceptable: NDArray[np.bool_]) -> Choice:
    """Choose the cheapest acceptable one of points that have no reference but the most accurate one."""
    row = int(np.argmax(acceptable))
    if row != curve.reference and not is_cheaper(curve)[row]:
        row = curve.reference
    rival = _rival(curve, row, np.arange(len(curve)))
    return Choice(outcome="chosen", row=row, rival=rival)


def _rival(curve: Curve, row: int, among: NDArray[np.int64]) -> int | None:
    """Return the best of the points cheaper than `row`; of equally good ones the cheapest: the front's next one."""
    spread = least_spread(curve.cost)
    for limit in (curve.costs[row] - spread * abs(curve.costs[row]), curve.costs[row]):
        cheaper = among[curve.costs[among] < limit]
        if len(cheaper) > 0:
            return int(cheaper[np.argmin(curve.losses[cheaper])])
    return None


def _slack(curve: Curve) -> NDArray[np.float64]:
    return _ROUND_OFF * np.maximum(1.0, np.abs(curve.qualities[curve.references]))
