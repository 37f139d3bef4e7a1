"""Method "kneedle": the literature's knee, guarded, on the front."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from effbench.analysis.curves.curve import Curve
from effbench.analysis.curves.jitter import is_cheaper
from effbench.analysis.curves.pareto import front_of, front_rows
from effbench.analysis.definitions.bend import stands_out
from effbench.analysis.definitions.choice import NO_ROW, Choice, is_number, problem_of

CostAxis = Literal["linear", "log"]
COST_AXES = ("linear", "log")
# Below this distance from its chord (the unit square's diagonal) a front is straight, and a knee would be round-off.
_STRAIGHT = 1e-9
_MOST_RESAMPLES = 250
"""Of how many the knees are looked for: each takes a third of a millisecond, in the library."""


@dataclass(frozen=True, kw_only=True)
class Kneedle:
    """The knee of the front: the first one that Kneedle detects.

    Where the best point is cheaper than the reference, the front goes on level up to the reference's cost: paying more
    buys nothing, and the best point itself may be the knee.

    sensitivity: Kneedle's S, at least 0: how far the curve must flatten after a knee before it counts. cost_axis:
    whether the front is drawn over the cost or over its logarithm, which moves the knee. ValueError for others. With
    noise that is known (`drawn`), a knee must stand out from the straight line between the ends (`stands_out`).
    Source: Satopaa et al. 2011, "Finding a 'Kneedle' in a Haystack", doi:10.1109/ICDCSW.2011.20.
    """

    sensitivity: float = 1.0
    cost_axis: CostAxis = "linear"

    def __post_init__(self) -> None:
        if not (is_number(self.sensitivity) and self.sensitivity >= 0):
            raise ValueError(f"sensitivity must be a finite number of at least 0, got {self.sensitivity!r}")
        if self.cost_axis not in COST_AXES:
            raise ValueError(f"cost_axis={self.cost_axis}: must be {' or '.join(COST_AXES)}")

    def choose(self, curve: Curve, drawn: NDArray[np.float64] | None = None, /) -> Choice:
        """Choose the front's knee. drawn: losses, (n_resamples, n_points)."""
        problem, row = self._problem(curve), None
        if not problem:
            front = front_rows(curve)
            costs, qualities = self._line(curve, front, curve.qualities)
            row = self._knee(front, costs, qualities)
            problem = "" if row is not None else self._why_none(costs, qualities)
        if row is not None and drawn is not None and not stands_out(curve, drawn, row, is_log=self._is_log):
            problem = f"no knee stands out from the noise: that at {curve.labels[row]} may be chance; add seeds"
        return Choice(outcome="none", problem=problem) if problem else Choice(outcome="chosen", row=row)

    def looked_at(self, curve: Curve, drawn: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Return the first 250 resamples."""
        return drawn[:_MOST_RESAMPLES]

    def rows(self, curve: Curve, losses: NDArray[np.float64], /) -> NDArray[np.int64]:
        """Return the row that each resample takes, (n_resamples,), `NO_ROW` for none: losses (n_resamples, n_points).

        Resamples whose fronts are the same to the bit are looked at once.
        """
        qualities = curve.qualities - (losses - curve.losses)
        distinct, places = np.unique(qualities, axis=0, return_inverse=True)
        found = np.full(len(distinct), NO_ROW, dtype=np.int64)
        for number, values in enumerate(distinct):
            front = front_of(curve.costs, values)
            costs, line = self._line(curve, front, values)
            row = self._knee(front, costs, line) if len(costs) > 2 else None
            found[number] = NO_ROW if row is None else row
        return found[places.ravel()]

    @property
    def _is_log(self) -> bool:
        return self.cost_axis == "log"

    def _problem(self, curve: Curve) -> str:
        front = front_rows(curve)
        if not len(front) or len(self._line(curve, front, curve.qualities)[0]) < 3:
            return f"3 points are needed on the front for a knee, it has {len(front)}"
        if self._is_log and curve.costs[front[0]] <= 0:
            return f"{curve.cost} is not above 0 everywhere: it has no logarithm"
        return problem_of(curve, 0)

    def _why_none(self, costs: NDArray[np.float64], qualities: NDArray[np.float64]) -> str:
        if _above_chord(costs, qualities).max() <= _STRAIGHT:
            return "no knee: the front nowhere rises above the straight line between its ends"
        return f"no knee: the front bends too little for sensitivity {self.sensitivity:g}"

    def _line(
        self, curve: Curve, front: NDArray[np.int64], qualities: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the costs and qualities of a front, and of its level end at the reference's cost, if that is dearer.

        front: rows; qualities: of all points. Returns (n,) each, of n at least the front's length.
        """
        costs, values = curve.costs[front], qualities[front]
        end = float(curve.costs[curve.references].max())
        if curve.base == "reference" and costs[-1] < end and is_cheaper(curve)[front[-1]]:
            costs, values = np.append(costs, end), np.append(values, values[-1])
        return (np.log2(costs) if self._is_log and costs[0] > 0 else costs), values

    def _knee(self, front: NDArray[np.int64], costs: NDArray[np.float64], qualities: NDArray[np.float64]) -> int | None:
        """Return the row of the knee of a front, whose line has at least three points; None for none."""
        above_chord = _above_chord(costs, qualities)
        if above_chord.max() <= _STRAIGHT:
            return None
        knees = _kneedle(costs, qualities, sensitivity=self.sensitivity)
        # kneed counts the ends as maxima: a front that starts convex gets a "knee" at its first point.
        return next((int(front[position]) for position in knees if above_chord[position] > _STRAIGHT), None)


def _above_chord(costs: NDArray[np.float64], qualities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kneedle's difference curve: height above the chord, both axes scaled to [0, 1]: (n_front,)."""
    return _scaled(qualities) - _scaled(costs)


def _scaled(ascending: NDArray[np.float64]) -> NDArray[np.float64]:
    first, last = float(ascending[0]), float(ascending[-1])
    return (ascending - first) / (last - first)


def _kneedle(costs: NDArray[np.float64], qualities: NDArray[np.float64], *, sensitivity: float) -> list[int]:
    """Positions of the knees in the order in which kneed finds them; both ascend, the costs strictly."""
    assert (np.diff(costs) > 0).all() and (np.diff(qualities) >= 0).all(), "a front ascends in both"
    from kneed import KneeLocator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some versions warn where they find nothing: an empty list says so
        locator = KneeLocator(costs, qualities, S=sensitivity, curve="concave", direction="increasing", online=True)
    return [int(np.flatnonzero(costs == knee)[0]) for knee in locator.all_knees]
