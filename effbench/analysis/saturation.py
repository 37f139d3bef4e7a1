"""The saturation point: where on the trade-off curve compression stops being free."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis.bootstrap import interval_of, resampled_qualities
from effbench.analysis.costs import chosen_cost, least_spread
from effbench.analysis.counts import Counts
from effbench.analysis.curve import Curve, curve_of
from effbench.analysis.knee import knee_row
from effbench.analysis.words import allowance, at_chance, change

# Qualities are counts divided by counts: differences far below one example are round-off, not losses.
_ROUND_OFF = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class Saturation:
    """A saturation point, or why there is none."""

    point: pd.Series | None
    """The chosen point: a row of the runs, averaged over seeds."""

    reason: str
    """Why this point, or why none; never empty."""

    method: str
    cost: str
    quality: str
    """The column."""
    interval: tuple[float, float] | None = None
    """95 % of the costs that the choice has on examples (and seeds) drawn anew, where the counts were given."""

    def __post_init__(self) -> None:
        assert self.reason, "a saturation says why"


def saturation_point(
    frame: pd.DataFrame,
    *,
    cost: str | None = None,
    quality: str | None = None,
    method: str = "tolerance",
    counts: Counts | None = None,
    **options: float,
) -> Saturation:
    """Find where compression stops being free.

    Parameters
    ----------
    frame
        One row per run, in any order; runs with the same `point` are averaged over their seeds first. The reference is
        the row whose `reference` is true (the best of several), else the most expensive one.
    cost
        Column that is better when lower; None takes the first of size_bytes, macs_effective, macs, latency that varies.
    quality
        Column of the quality; None takes the frame's own (`quality_name`, else accuracy) on the validation split. A
        column of anything else is better when higher.
    method
        "tolerance" (option `tolerance`, default 0.02): the cheapest point whose quality is within the tolerance of the
        reference's, inclusive: the last acceptable one. "kneedle" (option `sensitivity`, default 1.0): the knee of the
        front (Satopaa et al. 2011, doi:10.1109/ICDCSW.2011.20).
    counts
        The counts of the examples behind `quality`, by run key (`load_counts` reads them). Method "tolerance" then
        gives an interval: the choice on 1,000 paired resamples.
    **options
        The method's own option.

    Returns
    -------
    Saturation
        Its `point` is None, with the reason, when there are too few points (2; kneedle needs 3 on the front), when the
        cheapest point still is within tolerance (the sweep did not go far enough), when the reference is not better
        than chance (`quality_chance`) by more than the tolerance, or when the front has no knee. It is the reference
        when nothing cheaper is acceptable.

    Raises
    ------
    ValueError
        Unknown method, option or column, a value that is not finite, a frame that mixes data sets or qualities,
        or counts that are not those of the quality.

    Examples
    --------
    >>> runs = pd.DataFrame(
    ...     {"point": ["reference", "prune=0.5", "prune=0.9"],
    ...      "size_bytes": [400, 164, 60], "accuracy_val": [0.960, 0.952, 0.897]})
    >>> saturation = saturation_point(runs)
    >>> saturation.point["point"], saturation.reason
    ('prune=0.5', 'prune=0.5 loses 0.8 points; the next cheaper, prune=0.9, loses 6.3 points')
    """
    choose = _method(method, options)
    curve = curve_of(frame, cost=chosen_cost(frame, cost), quality=quality)
    row, reason = choose(curve, **options)
    if len(curve) > 0 and "reference" in frame.columns and not curve.marked.any():
        reason += (
            f" (no row is marked as the reference: {curve.labels[curve.reference]}, the most expensive, stands in)"
        )
    point = None if row is None else curve.points.iloc[row]
    interval = None
    if counts is not None and row is not None and method == "tolerance":
        interval = interval_of(tolerated_costs(curve, resampled_qualities(frame, curve, counts), **options))
    return Saturation(
        point=point, reason=reason, method=method, cost=curve.cost, quality=curve.quality_column, interval=interval
    )


def tolerated_row(curve: Curve, /, *, tolerance: float = 0.02) -> tuple[int | None, str]:
    """Return the row of the cheapest point within `tolerance` of the reference's quality, and why; None when none is.

    tolerance: in what the quality's column holds (0.02 is two percentage points of a fraction), inclusive, at least 0.
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"tolerance must be a finite number of at least 0, got {tolerance}")
    if len(curve) < 2:
        return None, f"2 points are needed, there {_are(len(curve))}"
    slack = _ROUND_OFF * max(1.0, abs(float(curve.qualities[curve.reference])))
    if curve.above_chance <= tolerance + slack:
        return None, at_chance(curve, tolerance)
    row = int(np.argmax(curve.losses <= tolerance + slack))
    within = allowance(curve, tolerance)
    if not (curve.costs < _noticeably_below(curve, curve.reference)).any():
        return None, "not reached: no point is cheaper than the reference; sweep further"
    if curve.costs[row] == curve.costs[0]:
        return None, f"not reached: even {curve.labels[row]} stays within {within}; sweep further"
    if curve.costs[row] >= _noticeably_below(curve, curve.reference):
        row = curve.reference  # what is cheaper by less than the cost jitters saves nothing
    worse = cheaper_rival(curve, row)
    loss = change(curve, worse, beyond=tolerance)
    if curve.costs[row] >= curve.costs[curve.reference]:
        reason = f"nothing cheaper than the reference stays within {within}: already {curve.labels[worse]} {loss}"
        return row, reason
    return row, f"{curve.labels[row]} {change(curve, row)}; the next cheaper, {curve.labels[worse]}, {loss}"


def tolerated_costs(curve: Curve, qualities: NDArray[np.float64], /, *, tolerance: float = 0.02) -> NDArray[np.float64]:
    """Return the cost that `tolerated_row` would choose for each of other qualities of the points: (n,).

    qualities: (n, n_points), higher is better. A choice of the cheapest point (not reached) counts as its cost.
    """
    references = qualities[:, [curve.reference]]
    slack = _ROUND_OFF * np.maximum(1.0, np.abs(references))
    rows = np.argmax(references - qualities <= tolerance + slack, axis=1)
    costs: NDArray[np.float64] = curve.costs[rows]
    costs[costs >= _noticeably_below(curve, curve.reference)] = curve.costs[curve.reference]
    return costs


def cheaper_rival(curve: Curve, row: int, /) -> int:
    """Return the best of the points cheaper than `row`; of equally good ones the cheapest: the front's next one."""
    cheaper = curve.costs < _noticeably_below(curve, row)
    if not cheaper.any():
        cheaper = curve.costs < curve.costs[row]
    assert cheaper.any(), "the cheapest point has no cheaper rival"
    return int(np.argmax(np.where(cheaper, curve.qualities, -np.inf)))


def _noticeably_below(curve: Curve, row: int) -> float:
    """Return the cost below which a point is cheaper than `row` by more than such costs jitter."""
    return float(curve.costs[row]) * (1 - least_spread(curve.cost))


_METHODS: dict[str, Callable[..., tuple[int | None, str]]] = {"tolerance": tolerated_row, "kneedle": knee_row}


def _method(method: str, options: dict[str, float]) -> Callable[..., tuple[int | None, str]]:
    if method not in _METHODS:
        raise ValueError(f"unknown method {method!r}; there are {sorted(_METHODS)}")
    choose = _METHODS[method]
    allowed = [p.name for p in inspect.signature(choose).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in allowed:
            raise ValueError(f"method {method!r} has no option {option!r}; it takes {allowed}")
    return choose


def _are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count}"
