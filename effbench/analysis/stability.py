"""Whether a saturation point hangs on its definition: other methods, other axes, an end of the curve left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from effbench.analysis.curves.costs import cost_words
from effbench.analysis.curves.curve import Curve, curve_of
from effbench.analysis.curves.words import share
from effbench.analysis.definitions.knee import Kneedle
from effbench.analysis.saturation import Found, Saturation, by_other_method

LOG_KNEE = "kneedle over log cost"
_OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "tolerance": ("tolerance", {}),
    "tolerance_bound": ("tolerance_bound", {}),
    "kneedle": ("kneedle", {}),
    LOG_KNEE: ("kneedle", {"cost_axis": "log"}),
    "marginal": ("marginal", {}),
}
"""The definitions that ask the user nothing, with their default options; a price is the user's to say."""


def by_definition(found: Found, tolerance: float, /) -> Iterator[tuple[str, Saturation]]:
    """Yield each definition and what it comes to: that of the answer as it is, the others on the same resamples.

    tolerance: of the definitions that have one. A bound is left out where nothing is known of the noise.
    """
    own = _name(found)
    if own not in _OTHERS:
        yield own, found.saturation
    for name, (method, options) in _OTHERS.items():
        if name == own:
            yield name, found.saturation
        elif method != "tolerance_bound" or found.drawn is not None:
            within = {"tolerance": tolerance} if method.startswith("tolerance") else {}
            yield name, by_other_method(found, method, {**options, **within}).saturation


def stability_sentence(found: Found, definitions: Iterable[tuple[str, Saturation]], /) -> str:
    """Say which other points other definitions choose, or the same one without an end of the curve; "" where none does.

    Beside each, its cost as a multiple of the answer's: what it costs to be sure, by "tolerance_bound".
    definitions: from `by_definition`. One that finds no point disagrees with none.

    >>> import pandas as pd
    >>> from effbench.analysis.saturation import answer_of
    >>> runs = pd.DataFrame(
    ...     {"point": ["reference", "a=1", "a=2", "a=3"], "size_bytes": [800, 400, 200, 100],
    ...      "accuracy_val": [0.96, 0.955, 0.945, 0.8]})
    >>> found = answer_of(runs)
    >>> stability_sentence(found, by_definition(found, 0.02))
    'by other definitions other points: a=1 at 2× its bytes (marginal)'
    """
    if found.saturation.point is None:
        return ""
    curve, chosen = found.curve, _label(found.curve, found.saturation)
    elsewhere: dict[str, list[str]] = {}
    for name, saturation in [*definitions, *_without_ends(found)]:
        label = _label(curve, saturation)
        if label not in (None, chosen):
            elsewhere.setdefault(str(label), []).append(name)
    named = [f"{label}{_beside(found, label)} ({', '.join(names)})" for label, names in elsewhere.items()]
    return f"by other definitions other points: {', '.join(named)}" if named else ""


def _beside(found: Found, label: str) -> str:
    """Write a point's cost as a multiple of the answer's, " at 2× its bytes"; "" where that cost is not above 0."""
    curve, own = found.curve, found.saturation.row
    if own is None or not curve.costs[own] > 0:
        return ""
    ratio = float(curve.costs[curve.labels.index(label)] / curve.costs[own])
    return f" at {share(ratio)} {cost_words(curve.cost).share.replace('the ', 'its ', 1)}"


def _name(found: Found) -> str:
    if isinstance(found.method, Kneedle) and found.method.cost_axis == "log":
        return LOG_KNEE
    return found.saturation.method


def _without_ends(found: Found) -> Iterator[tuple[str, Saturation]]:
    """Yield the answer's own method on the curve without its cheapest point, and without its most expensive one."""
    curve = found.curve
    rows = np.setdiff1d(np.arange(len(curve)), curve.references)
    if len(rows) < 3:
        return
    for name, row in (("without the cheapest", rows[0]), ("without the most expensive", rows[-1])):
        own = curve.pairs.runs[curve.pairs.points == row]
        others = curve.runs.drop(index=curve.runs.index[own])
        rest = curve_of(others, cost=curve.cost, quality=curve.quality_column)
        if len(rest) != len(curve) - 1:  # another stands where the point stood
            continue
        choice = found.method.choose(rest, None if found.drawn is None else np.delete(found.drawn, row, axis=1))
        if choice.outcome == "chosen" and choice.row is not None and rest.labels[choice.row] in curve.labels:
            point = curve.points.iloc[curve.labels.index(rest.labels[choice.row])]
            yield (
                name,
                Saturation(
                    point=point, reason=name, method=_name(found), cost=curve.cost, quality=curve.quality_column
                ),
            )


def _label(curve: Curve, saturation: Saturation) -> str | None:
    return None if saturation.row is None else curve.labels[saturation.row]
