"""What both the reason of an answer and its sentence say: of points that are acceptable or not, and remarks."""

from __future__ import annotations

import pandas as pd

from effbench.analysis.curves.columns import parse_numbers
from effbench.analysis.curves.costs import cost_words
from effbench.analysis.curves.curve import Curve
from effbench.analysis.curves.jitter import noise
from effbench.analysis.curves.labels import label_axes
from effbench.analysis.curves.words import allowance, change, change_on_test, level, named, scale, share
from effbench.analysis.definitions.choice import Choice

_MOST_NAMES = 3


Interval = tuple[float, float]


def loss_and_test(curve: Curve, row: int, /, *, most: str = "", test: Interval | None = None) -> str:
    """Write what a point loses on validation, and beside it on test: "loses 0.1; test: gains 0.5 ± 0.2".

    most: the largest loss to be expected, "loses 0.1, at most 0.6". test: 95 % of the loss on test, where it is known.
    """
    loses = change(curve, row, unit=False) + (f", at most {most}" if most else "")
    return "; ".join(filter(None, [loses, change_on_test(curve, row, interval=test)]))


def cheapest_is_acceptable(
    curve: Curve, row: int, tolerance: float, /, *, firmness: str = "", most: str = "", interval: Interval | None = None
) -> str:
    """Say that even the cheapest point is acceptable, what it costs and what is to be done.

    firmness: how sure that is, in brackets after what it costs. most: the largest loss to be expected. interval: of the
    loss on test.
    """
    test = change_on_test(curve, row, interval=interval)
    loses = change(curve, row) + (f", at most {most}" if most else "") + (f" ({test})" if test else "")
    text = (
        f"not reached: the cheapest, {named(curve, row)}, {saving(curve, row)}{firmness}, {loses}: still within "
        f"{scale(curve) * tolerance:g}"
    )
    return text + what_next(curve, row)


def cheapest_is_acceptable_in_short(curve: Curve, row: int, tolerance: float, /) -> str:
    """Say the same above a figure, which shows what the point costs and loses."""
    return f"not reached: even {named(curve, row)} stays within {allowance(curve, tolerance)}{what_next(curve, row)}"


def nothing_is_acceptable(curve: Curve, rival: int | None, tolerance: float, /, *, firmness: str = "") -> str:
    """Say that nothing cheaper than the reference is acceptable, and what the best of it loses.

    firmness: how sure that is, in brackets.
    """
    within = allowance(curve, tolerance)
    if curve.base == "most accurate":
        best = named(curve, curve.reference)
        if rival is None:
            return f"{best} is the most accurate and the cheapest"
        than = f"nothing cheaper is within {within} of the most accurate, {best}"
    else:
        whose = "its" if curve.has_several_references else "the"
        than = f"nothing cheaper than {whose} reference stays within {within}"
    assert rival is not None, "what is not acceptable is cheaper"
    return f"{than}{firmness}: already {named(curve, rival)} {change(curve, rival, beyond=tolerance)}"


def nothing_is_sure(curve: Curve, rival: int | None, tolerance: float, /, *, most: str, firmness: str = "") -> str:
    """Say that of nothing cheaper it is sure that it is acceptable, and what the best of it may lose.

    most: the largest loss of `rival` that is to be expected.
    """
    if rival is None:
        return f"{named(curve, curve.reference)} is the most accurate and the cheapest"
    whose = "its" if curve.has_several_references else "the"
    than = "the most accurate one" if curve.base == "most accurate" else f"{whose} reference"
    return (
        f"of nothing cheaper than {than} it is sure that it stays within {allowance(curve, tolerance)}{firmness}: "
        f"already {named(curve, rival)} {change(curve, rival)}, perhaps {most}"
    )


def saving(curve: Curve, row: int, /) -> str:
    """Write a point's cost as a share of its reference's: "at 0.53× the bytes"; where that can't be, its cost."""
    ratio = float(curve.ratios[row])
    words = cost_words(curve.cost)
    return f"at {share(ratio)} {words.share}" if ratio == ratio else f"at {words.title} {curve.costs[row]:.4g}"


def remarks(curve: Curve, choice: Choice | None = None, /) -> list[str]:
    """Return what is to be known of an answer: points that are not in it, who stands in as the reference, noise."""
    found = []
    if curve.failed:
        found.append(f"{_listed(curve.failed)} failed")
    if curve.not_compared:
        found.append(f"{_listed(curve.not_compared)} not compared: its reference has no run with a seed of its own")
    if curve.base == "stand-in" and len(curve) > 0:
        name = curve.labels[curve.reference]
        found.append(f"no row is marked as the reference: {name}, the most expensive, stands in")
    if choice is not None and choice.outcome in ("chosen", "not reached") and choice.row is not None:
        found += _weaker_reference(curve, choice.row)
    return [*found, *filter(None, [noise(curve)])]


def what_next(curve: Curve, row: int, /) -> str:
    """Say what stopped a sweep short of its answer."""
    if curve.ended_early[row]:
        return "; its rounds ended before what was asked"
    values = label_axes(curve.labels[row]).values()
    # Of categories none lies beyond another.
    is_further = not values or any(parse_numbers(pd.Series([value])) is not None for value in values)
    return "; sweep further" if is_further and not curve.failed else ""


def _weaker_reference(curve: Curve, row: int) -> list[str]:
    """Say that another reference is better than the point's own by more than the point's gains or losses can show."""
    own, best = int(curve.references[row]), curve.reference
    if curve.base != "reference" or curve.qualities[own] >= curve.qualities[best]:
        return []
    levels = level(curve, float(curve.values[own])), level(curve, float(curve.values[best]))
    return [] if levels[0] == levels[1] else [f"its reference has {levels[0]}, {curve.labels[best]} {levels[1]}"]


def _listed(labels: tuple[str, ...]) -> str:
    return ", ".join(labels) if len(labels) <= _MOST_NAMES else f"{len(labels)} points"
