"""Methods "marginal" and "price": quality is exchanged for cost at a rate, by doublings of the cost or by its units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from effbench.analysis.curves.curve import Curve
from effbench.analysis.curves.jitter import is_cheaper
from effbench.analysis.curves.words import scale
from effbench.analysis.definitions.bend import stands_out
from effbench.analysis.definitions.choice import (
    Choice,
    candidates,
    has_live_reference,
    is_number,
    nothing_cheaper,
    outcome_of,
    problem_of,
)

DEFAULT_RATE = 1.0
_SAME = 1e-9
"""Balances that differ by less are equal: the more expensive point stands."""


@dataclass(frozen=True, kw_only=True)
class Marginal:
    """The point from which on a doubling of the cost buys fewer than `rate` points of quality.

    It is the point of the largest quality - rate · log2(cost): where a line of that slope touches the concave hull of
    the points, drawn over the logarithm of the cost (equal marginal rates: Varian 2014, Intermediate Microeconomics,
    chapter 21). With noise that is known (`drawn`), a point between the ends is chosen only where it stands out from
    the straight line between them (`stands_out`).

    rate: in points where the quality is a fraction, else in the quality's unit; above 0, else ValueError.
    """

    rate: float = DEFAULT_RATE

    def __post_init__(self) -> None:
        _require_positive(rate=self.rate)

    def choose(self, curve: Curve, drawn: NDArray[np.float64] | None = None, /) -> Choice:
        """Choose a point by what points lose. drawn: losses, (n_resamples, n_points)."""
        problem = problem_of(curve, 0) or _not_positive(curve)
        if problem:
            return Choice(outcome="none", problem=problem)
        choice = _choice(curve, int(self.rows(curve, curve.losses[None])[0]))
        if choice.outcome != "chosen" or drawn is None or choice.row is None:
            return choice
        if stands_out(curve, drawn, choice.row, is_log=True):
            return choice
        name = curve.labels[choice.row]
        return Choice(
            outcome="none", problem=f"no bend stands out from the noise: that at {name} may be chance; add seeds"
        )

    def looked_at(self, curve: Curve, drawn: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Return the losses themselves."""
        return drawn

    def rows(self, curve: Curve, losses: NDArray[np.float64], /) -> NDArray[np.int64]:
        """Return the row that each resample chooses, (n_resamples,): losses (n_resamples, n_points)."""
        doublings = np.log2(curve.costs / curve.costs[curve.references])
        return _best_rows(curve, scale(curve) * losses + self.rate * doublings)


@dataclass(frozen=True, kw_only=True)
class Price:
    """The point of the least cost + price · loss: the user says what a point of quality is worth.

    price: units of the cost (bytes, multiply-adds, milliseconds) for a point where the quality is a fraction, else for
    one unit of it; above 0, else ValueError.
    """

    price: float

    def __post_init__(self) -> None:
        _require_positive(price=self.price)

    def choose(self, curve: Curve, drawn: NDArray[np.float64] | None = None, /) -> Choice:
        """Choose a point by what points lose; `drawn` losses, (n_resamples, n_points), are not needed."""
        problem = problem_of(curve, 0)
        if problem:
            return Choice(outcome="none", problem=problem)
        return _choice(curve, int(self.rows(curve, curve.losses[None])[0]))

    def looked_at(self, curve: Curve, drawn: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Return the losses themselves."""
        return drawn

    def rows(self, curve: Curve, losses: NDArray[np.float64], /) -> NDArray[np.int64]:
        """Return the row that each resample chooses, (n_resamples,): losses (n_resamples, n_points)."""
        spared = curve.costs[curve.references] - curve.costs
        return _best_rows(curve, self.price * scale(curve) * losses - spared)


def _best_rows(curve: Curve, balances: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the point of the least balance, (n_resamples,), of equal ones the most expensive."""
    allowed = has_live_reference(curve, 0)
    is_reference = np.isin(np.arange(len(curve)), curve.references)
    allowed &= is_reference | is_cheaper(curve) | (curve.base == "most accurate")
    among = np.where(allowed, balances, np.inf)
    least = among.min(axis=1, keepdims=True)
    is_least = among <= least + _SAME * np.maximum(1.0, np.abs(least))
    return np.asarray(len(curve) - 1 - np.argmax(is_least[:, ::-1], axis=1))


def _choice(curve: Curve, row: int) -> Choice:
    points = np.flatnonzero(candidates(curve, 0))
    if not is_cheaper(curve)[points].any():
        return Choice(outcome="none", problem=nothing_cheaper(curve))
    return outcome_of(curve, row, points)


def _not_positive(curve: Curve) -> str:
    is_positive = (curve.costs > 0).all()
    return "" if is_positive else f"{curve.cost} is not above 0 everywhere: there is no doubling of it"


def _require_positive(**values: float) -> None:
    for name, value in values.items():
        if not (is_number(value) and value > 0):
            raise ValueError(f"{name} must be a finite number above 0, got {value!r}")
