"""The literature's knee, guarded: Kneedle on the front."""

from __future__ import annotations

import math
import warnings

import numpy as np
from numpy.typing import NDArray

from effbench.analysis.curve import Curve
from effbench.analysis.pareto import front_rows
from effbench.analysis.words import at_chance

# Below this distance from its chord (the unit square's diagonal) a front is straight, and a knee would be round-off.
_STRAIGHT = 1e-9


def knee_row(curve: Curve, /, *, sensitivity: float = 1.0) -> tuple[int | None, str]:
    """Return the row of the front's knee (the first that Kneedle detects), and why; None when there is none.

    sensitivity: Kneedle's S, at least 0: how far the curve must flatten after a knee before it counts.
    Source: Satopaa et al. 2011, "Finding a 'Kneedle' in a Haystack", doi:10.1109/ICDCSW.2011.20.
    """
    if not (math.isfinite(sensitivity) and sensitivity >= 0):
        raise ValueError(f"sensitivity must be a finite number of at least 0, got {sensitivity}")
    front = front_rows(curve)
    if len(front) < 3:
        return None, f"3 points are needed on the front for a knee, it has {len(front)}"
    if curve.above_chance[curve.reference] <= 0:
        return None, at_chance(curve, curve.reference, 0)
    above_chord = _above_chord(curve.costs[front], curve.qualities[front])
    if above_chord.max() <= _STRAIGHT:
        return None, "no knee: the front nowhere rises above the straight line between its ends"
    for position in _kneedle(curve.costs[front], curve.qualities[front], sensitivity=sensitivity):
        # kneed counts the ends as maxima: a front that starts convex gets a "knee" at its first point.
        if above_chord[position] > _STRAIGHT:
            row = int(front[position])
            return row, f"{curve.labels[row]} is the knee of the front of {len(front)} points"
    return None, f"no knee: the front of {len(front)} points bends too little for sensitivity {sensitivity:g}"


def _above_chord(costs: NDArray[np.float64], qualities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kneedle's difference curve: height above the chord, both axes scaled to [0, 1]: (n_front,)."""
    return _scaled(qualities) - _scaled(costs)


def _scaled(ascending: NDArray[np.float64]) -> NDArray[np.float64]:
    first, last = float(ascending[0]), float(ascending[-1])
    return (ascending - first) / (last - first)


def _kneedle(costs: NDArray[np.float64], qualities: NDArray[np.float64], *, sensitivity: float) -> list[int]:
    """Positions of the knees in the order in which kneed finds them, on strictly ascending costs and qualities."""
    assert (np.diff(costs) > 0).all() and (np.diff(qualities) > 0).all(), "a front ascends in both"
    from kneed import KneeLocator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some versions warn where they find nothing: an empty list says so
        locator = KneeLocator(costs, qualities, S=sensitivity, curve="concave", direction="increasing", online=True)
    return [int(np.flatnonzero(costs == knee)[0]) for knee in locator.all_knees]
