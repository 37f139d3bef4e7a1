"""What comes of looking for a saturation point, and which points may be chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from effbench.analysis.curves.curve import Curve
from effbench.analysis.curves.jitter import is_cheaper, least_spread
from effbench.analysis.curves.words import at_chance

Outcome = Literal["chosen", "nothing", "not reached", "none"]
NO_ROW = -1
"""In arrays of rows: no point."""

# Qualities are counts divided by counts: differences far below one example are round-off, not losses.
_ROUND_OFF = 1e-9


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What came of looking for the saturation point."""

    outcome: Outcome
    """chosen: `row` is acceptable and `rival`, cheaper, is not. nothing: no point cheaper than the reference, `row`,
    is; `rival` is the best of them. not reached: the cheapest point, `row`, still is. none: there is no answer."""
    row: int | None = None
    rival: int | None = None
    """None where nothing is cheaper than the chosen row."""
    problem: str = ""
    """Why there is no answer."""


def problem_of(curve: Curve, tolerance: float, /) -> str:
    """Say why no point can be chosen; "" where one can."""
    if curve.base == "missing":
        return "the reference is not among the runs: it failed, or was left out"
    if len(curve) < 2:
        return f"2 points are needed, there {'is 1' if len(curve) == 1 else f'are {len(curve)}'}"
    if not has_live_reference(curve, tolerance).any():
        dead = _runs_at_chance(curve, curve.reference, tolerance)
        is_dead = curve.above_chance[curve.reference] <= tolerance + slack(curve)[curve.reference]
        return at_chance(curve, curve.reference, tolerance, rows=None if is_dead else dead)
    return ""


def nothing_cheaper(curve: Curve, /) -> str:
    """Say that there is nothing to choose."""
    if curve.base == "most accurate":
        return f"{curve.labels[curve.reference]} is the most accurate and the cheapest"
    return f"no point is cheaper than {'its' if curve.has_several_references else 'the'} reference"


def is_number(value: object, /) -> bool:
    """Whether an option is a finite number; a truth value is none."""
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and math.isfinite(value)


def has_live_reference(curve: Curve, tolerance: float, /) -> NDArray[np.bool_]:
    """Return whose reference is better than chance, by more than the tolerance and with each seed: (n_points,)."""
    dead = curve.above_chance <= tolerance + slack(curve)
    for reference in np.unique(curve.references):
        dead[curve.references == reference] |= len(_runs_at_chance(curve, int(reference), tolerance)) > 0
    return ~dead


def candidates(curve: Curve, tolerance: float, /) -> NDArray[np.bool_]:
    """Return the points that may be chosen: no references, and none whose reference learned nothing: (n_points,)."""
    is_reference = np.isin(np.arange(len(curve)), curve.references)
    return has_live_reference(curve, tolerance) & ~is_reference


def outcome_of(curve: Curve, row: int, points: NDArray[np.int64], /) -> Choice:
    """Return the choice of a row among `points` (candidates, cheapest first), with its rival."""
    if row in curve.references:
        cheaper = points[is_cheaper(curve)[points]]
        best = int(cheaper[np.argmin(curve.losses[cheaper])])
        return Choice(outcome="nothing", row=int(curve.references[best]), rival=best)
    if curve.costs[row] == curve.costs[points[0]]:
        return Choice(outcome="not reached", row=row)
    return Choice(outcome="chosen", row=row, rival=rival_of(curve, row, points))


def rival_of(curve: Curve, row: int, among: NDArray[np.int64], /) -> int | None:
    """Return the best of the points cheaper than `row`; of equally good ones the cheapest: the front's next one."""
    spread = least_spread(curve.cost)
    for limit in (curve.costs[row] - spread * abs(curve.costs[row]), curve.costs[row]):
        cheaper = among[curve.costs[among] < limit]
        if len(cheaper) > 0:
            return int(cheaper[np.argmin(curve.losses[cheaper])])
    return None


def slack(curve: Curve, /) -> NDArray[np.float64]:
    """Return by how much each point's loss may differ from what it is by round-off: (n_points,)."""
    return _ROUND_OFF * np.maximum(1.0, np.abs(curve.qualities[curve.references]))


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
    allowed = _ROUND_OFF * np.maximum(1.0, np.abs(values))
    return np.asarray(rows[curve.sign * (values - curve.quality.chance) <= tolerance + allowed])
