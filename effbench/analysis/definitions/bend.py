"""Whether a curve bends at a point, or whether that may be noise about a straight line."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from effbench.analysis.curves.curve import Curve

_SURE = 0.99
"""How seldom noise about a straight line may look like a bend: once in a hundred curves, whatever their points."""
_MIDDLE = 0.68
"""Share of the resamples whose range is the unit in which heights are compared: a deviation where they are normal."""


def stands_out(curve: Curve, drawn: NDArray[np.float64], row: int, /, *, is_log: bool) -> bool:
    """Whether a point is above the straight line from the cheapest to its reference by more than noise puts any point.

    drawn: losses, (n_resamples, n_points). is_log: over the logarithm of the cost. The test is one of all points
    between the two together: the largest of their heights, each in units of its own noise, of which 99 % of the
    resamples, put about nothing, stay below (the studentised maximum: Westfall & Young 1993, Resampling-Based Multiple
    Testing, section 2.3). What is dearer than the reference plays no part.
    """
    end = int(curve.references[row])
    costs = np.log2(curve.costs[: end + 1]) if is_log else curve.costs[: end + 1]
    if not (0 < row < end) or costs[-1] <= costs[0]:
        return False
    observed = _heights(costs, curve.losses[None, : end + 1])[0]
    noise = _heights(costs, drawn[:, : end + 1]) - observed
    low, high = np.quantile(noise, [(1 - _MIDDLE) / 2, (1 + _MIDDLE) / 2], axis=0)
    units = (high - low) / 2
    if units[row] <= 0:
        return bool(observed[row] > 0)
    scaled = np.divide(noise, units, out=np.zeros_like(noise), where=units > 0)[:, 1:-1]
    return bool(observed[row] / units[row] > np.quantile(scaled.max(axis=1), _SURE))


def _heights(costs: NDArray[np.float64], losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how much better points are than the line between the first and the last one."""
    share = (costs - costs[0]) / (costs[-1] - costs[0])
    line = losses[:, [0]] + share * (losses[:, [-1]] - losses[:, [0]])
    return np.asarray(line - losses)
