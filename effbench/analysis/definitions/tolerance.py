"""Methods "tolerance" and "tolerance_bound": the cheapest point that loses no more than is tolerated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from effbench.analysis.curves.curve import Curve
from effbench.analysis.curves.jitter import is_cheaper
from effbench.analysis.definitions.choice import (
    Choice,
    candidates,
    has_live_reference,
    is_number,
    nothing_cheaper,
    outcome_of,
    problem_of,
    rival_of,
    slack,
)

DEFAULT_TOLERANCE = 0.02


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """The cheapest point whose quality is within a tolerance of its reference's, inclusive.

    tolerance: in what the quality's column holds (0.02 is two percentage points of a fraction), at least 0. Points
    whose reference learned nothing, with any seed, are no candidates, nor is what is cheaper by less than such costs
    jitter. ValueError for another tolerance.
    """

    tolerance: float = DEFAULT_TOLERANCE

    def __post_init__(self) -> None:
        if not (is_number(self.tolerance) and self.tolerance >= 0):
            raise ValueError(f"tolerance must be a finite number of at least 0, got {self.tolerance!r}")

    def choose(self, curve: Curve, drawn: NDArray[np.float64] | None = None, /) -> Choice:
        """Choose a point by what points lose; `drawn` losses, (n_resamples, n_points), are not needed."""
        return self._choose(curve, curve.losses)

    def looked_at(self, curve: Curve, drawn: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Return the losses themselves."""
        return drawn

    def rows(self, curve: Curve, losses: NDArray[np.float64], /) -> NDArray[np.int64]:
        """Return the row that each resample chooses: (n_resamples,); the reference's where it chooses nothing.

        losses: (n_resamples, n_points), against each point's own reference.
        """
        allowed = self.tolerance + slack(curve)
        if curve.base == "most accurate":
            behind = losses - losses.min(axis=1, keepdims=True)  # another one may be the most accurate
            return np.asarray(np.argmax(behind <= allowed, axis=1))
        acceptable = (losses <= allowed) & is_cheaper(curve) & candidates(curve, self.tolerance)
        references = curve.references[np.argmin(np.where(is_cheaper(curve), losses, np.inf), axis=1)]
        return np.asarray(np.where(acceptable.any(axis=1), np.argmax(acceptable, axis=1), references))

    def _choose(self, curve: Curve, losses: NDArray[np.float64]) -> Choice:
        """Choose the cheapest point of which these losses are acceptable: (n_points,)."""
        problem = problem_of(curve, self.tolerance)
        if problem:
            return Choice(outcome="none", problem=problem)
        acceptable = has_live_reference(curve, self.tolerance) & (losses <= self.tolerance + slack(curve))
        if curve.base == "most accurate":
            return _choose_among_equals(curve, acceptable)
        points = np.flatnonzero(candidates(curve, self.tolerance))
        cheaper = points[is_cheaper(curve)[points]]
        if len(cheaper) == 0:
            return Choice(outcome="none", problem=nothing_cheaper(curve))
        found = cheaper[acceptable[cheaper]]
        return outcome_of(curve, int(found[0]) if len(found) else curve.reference, points)


@dataclass(frozen=True, kw_only=True)
class ToleranceBound(Tolerance):
    """The cheapest point of which it is sure that it is within the tolerance: so is the end of its loss's interval.

    The end is the upper one of the 95 % interval of the paired difference. Choosing by the losses themselves is
    optimistic: of several points near the tolerance the one is chosen that was lucky.
    """

    def choose(self, curve: Curve, drawn: NDArray[np.float64] | None = None, /) -> Choice:
        """Choose a point by the largest losses that `drawn` ones, (n_resamples, n_points), let expect."""
        assert drawn is not None, "a bound needs resamples"
        return self._choose(curve, upper_bounds(drawn))

    def looked_at(self, curve: Curve, drawn: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Return the bounds that resamples would have: as far from their losses as the bounds are."""
        return drawn + (upper_bounds(drawn) - curve.losses)


def upper_bounds(drawn: NDArray[np.float64], /) -> NDArray[np.float64]:
    """Return the upper ends of the 95 % intervals of losses, (n_resamples, n_points): (n_points,)."""
    return np.asarray(np.quantile(drawn, 0.975, axis=0))


def _choose_among_equals(curve: Curve, acceptable: NDArray[np.bool_]) -> Choice:
    """Choose the cheapest acceptable one of points that have no reference but the most accurate one."""
    row = int(np.argmax(acceptable)) if acceptable.any() else curve.reference
    if row != curve.reference and not is_cheaper(curve)[row]:
        row = curve.reference
    rival = rival_of(curve, row, np.arange(len(curve)))
    return Choice(outcome="chosen", row=row, rival=rival)
