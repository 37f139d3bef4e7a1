"""Why a point was chosen, in words: what the reason of an answer says, and what its sentence says of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from effbench.analysis.curves.costs import cost_words
from effbench.analysis.curves.curve import Curve
from effbench.analysis.curves.words import amount, change, difference_unit, named, scale
from effbench.analysis.definitions.choice import Choice
from effbench.analysis.definitions.exchange import Marginal, Price
from effbench.analysis.definitions.knee import Kneedle
from effbench.analysis.definitions.methods import Method
from effbench.analysis.definitions.phrases import (
    cheapest_is_acceptable,
    nothing_is_acceptable,
    nothing_is_sure,
    what_next,
)
from effbench.analysis.definitions.tolerance import Tolerance, ToleranceBound, upper_bounds


def reason_of(curve: Curve, choice: Choice, method: Method, drawn: NDArray[np.float64] | None, /) -> str:
    """Say why a point was chosen, or why none. drawn: losses, (n_resamples, n_points), where they are known."""
    if choice.row is None:
        return choice.problem
    if isinstance(method, ToleranceBound) and drawn is not None:
        return _by_bound(curve, choice, method, drawn)
    if isinstance(method, Tolerance):
        return _by_tolerance(curve, choice, method)
    return found_by(curve, choice, method)


def found_by(curve: Curve, choice: Choice, method: Method, /) -> str:
    """Say what a method other than the tolerance found."""
    assert choice.row is not None, "something was found"
    name = named(curve, choice.row)
    if isinstance(method, Kneedle):
        over = " over the logarithm of the cost" if method.cost_axis == "log" else ""
        return f"{name} is the knee of the front{over}"
    assert isinstance(method, Marginal | Price), "there are no other methods"
    if choice.outcome == "nothing":
        assert choice.rival is not None, "something is cheaper"
        already = f"already {named(curve, choice.rival)} {change(curve, choice.rival)}"
        return f"no cheaper point is worth its loss where {_exchange(curve, method)}: {already}"
    if choice.outcome == "not reached":
        even = f"even the cheapest, {name}, is worth its loss{what_next(curve, choice.row)}"
        return f"not reached: where {_exchange(curve, method)}, {even}"
    if isinstance(method, Marginal):
        return f"beyond {name} {_doubling(curve)} buys less than {_points(curve, method.rate)}"
    return f"{name} is worth its loss most where {_exchange(curve, method)}"


def bounds_of(curve: Curve, choice: Choice, drawn: NDArray[np.float64], /) -> tuple[str, str]:
    """Write the largest losses of the chosen row and of its rival that are to be expected; "" for no rival."""
    ends = scale(curve) * upper_bounds(drawn)
    row, rival = choice.row, choice.rival
    return tuple("" if at is None else amount(curve, float(ends[at])) for at in (row, rival))  # type: ignore[return-value]


def _exchange(curve: Curve, method: Marginal | Price) -> str:
    """Say the rate of exchange: "a doubling of the bytes is to buy 1 point"."""
    if isinstance(method, Marginal):
        return f"{_doubling(curve)} is to buy {_points(curve, method.rate)}"
    size, symbol = cost_words(curve.cost).unit_for(method.price, method.price)
    unit = difference_unit(curve) or curve.quality_column
    one = f"a {unit.removesuffix('s')}" if unit.endswith("points") else f"1 {unit}"
    return f"{one} is worth {method.price / size:g} {symbol}".rstrip()


def _doubling(curve: Curve) -> str:
    return f"a doubling of {cost_words(curve.cost).share}"


def _points(curve: Curve, number: float) -> str:
    unit = difference_unit(curve)
    return f"{number:g} {unit.removesuffix('s') if number == 1 and unit.endswith('points') else unit}".rstrip()


def _by_tolerance(curve: Curve, choice: Choice, method: Tolerance) -> str:
    row, rival, tolerance = choice.row, choice.rival, method.tolerance
    assert row is not None, "something was found"
    if choice.outcome == "not reached":
        return cheapest_is_acceptable(curve, row, tolerance)
    if choice.outcome == "nothing" or (curve.base == "most accurate" and row == curve.reference):
        return nothing_is_acceptable(curve, rival, tolerance)
    chosen = f"{named(curve, row)} {change(curve, row)}"
    if curve.base == "most accurate":
        chosen += f" against the most accurate, {named(curve, curve.reference)}"
    if rival is None:
        return f"{chosen}; nothing is cheaper"
    return f"{chosen}; the next cheaper, {named(curve, rival)}, {change(curve, rival, beyond=tolerance)}"


def _by_bound(curve: Curve, choice: Choice, method: ToleranceBound, drawn: NDArray[np.float64]) -> str:
    row, rival, tolerance = choice.row, choice.rival, method.tolerance
    assert row is not None, "something was found"
    most, of_rival = bounds_of(curve, choice, drawn)
    if choice.outcome == "not reached":
        return cheapest_is_acceptable(curve, row, tolerance, most=most)
    if choice.outcome == "nothing" or (curve.base == "most accurate" and row == curve.reference):
        return nothing_is_sure(curve, rival, tolerance, most=of_rival)
    chosen = f"{named(curve, row)} {change(curve, row)}, at most {most}"
    if rival is None:
        return f"{chosen}; nothing is cheaper"
    return f"{chosen}; the next cheaper, {named(curve, rival)}, {change(curve, rival)}, perhaps {of_rival}"
