"""The saturation point: where on the trade-off curve compression stops being free."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from effbench.analysis.bootstrap import interval_of, resampled_losses
from effbench.analysis.costs import chosen_cost
from effbench.analysis.counts import Counts
from effbench.analysis.curve import Curve, curve_of
from effbench.analysis.groups import select_group
from effbench.analysis.knee import knee_row
from effbench.analysis.phrases import cheapest_is_acceptable, nothing_is_acceptable, remarks
from effbench.analysis.tolerance import DEFAULT_TOLERANCE, Choice, choose_within, tolerated_costs
from effbench.analysis.words import change, named

_OPTIONS = {"tolerance": DEFAULT_TOLERANCE, "sensitivity": 1.0}
_METHODS = {"tolerance": "tolerance", "kneedle": "sensitivity"}
"""The methods, and the option of each."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Saturation:
    """A saturation point, or why there is none.

    >>> runs = pd.DataFrame({"point": ["reference", "bits=8"], "size_bytes": [400, 100], "accuracy_val": [0.96, 0.50]})
    >>> saturation = saturation_point(runs)
    >>> saturation.point["point"], saturation.cost
    ('reference', 'size_bytes')
    """

    point: pd.Series | None
    """The chosen point: a row of the runs, averaged over the seeds on which it is compared with its reference."""

    reason: str
    """Why this point, or why none; never empty."""

    method: str
    cost: str
    quality: str
    """The column."""
    interval: tuple[float, float] | None = None
    """95 % of the costs that the choice has on examples, and on seeds where there are several, drawn anew; where the
    counts were given. Where the cheapest point still is acceptable (not reached) that is its choice."""

    def __post_init__(self) -> None:
        assert self.reason, "a saturation says why"

    def __repr__(self) -> str:
        name = None if self.point is None else self.point.get("point")
        return f"Saturation(point={name!r}, cost={self.cost!r}, reason={self.reason!r})"


def saturation_point(
    frame: pd.DataFrame,
    *,
    cost: str | None = None,
    quality: str | None = None,
    method: str = "tolerance",
    counts: Counts | None = None,
    model: str | None = None,
    **options: float,
) -> Saturation:
    """Find where compression stops being free.

    Parameters
    ----------
    frame
        One row per run, in any order; runs with the same `point` are averaged over their seeds first. Each is compared
        with its own reference, the run that its `reference_key` names, on the seeds that both have; without that
        column, with the row whose `reference` is true, else with the most expensive one. Where no axis was swept
        (every run is its own reference), all are compared with the most accurate one. Named controls (`control`) are
        left out. What a frame may say beside its columns is in `attrs`: "failed", a mapping with the "point" and the
        "seed" of each failed run.
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
    model
        The network, where the frame has several, each with a reference of its own.
    **options
        The method's own option.

    Returns
    -------
    Saturation
        Its `point` is None, with the reason, when there are too few points (2; kneedle needs 3 on the front), when the
        cheapest point still is within tolerance (the sweep did not go far enough, or rounds ended early), when no point
        is cheaper than its reference, when the reference failed or is not better than chance (`quality_chance`) by more
        than the tolerance, or when the front has no knee. It is the reference when nothing cheaper is acceptable.

    Raises
    ------
    ValueError
        Unknown method, option or column, a value that is not finite, a frame of several groups (`split_groups`) or
        qualities, or counts that are not those of the quality.

    Examples
    --------
    >>> runs = pd.DataFrame(
    ...     {"point": ["reference", "prune=0.5", "prune=0.9"],
    ...      "size_bytes": [400, 164, 60], "accuracy_val": [0.960, 0.952, 0.897]})
    >>> saturation = saturation_point(runs)
    >>> saturation.point["point"], saturation.reason
    ('prune=0.5', 'prune=0.5 loses 0.8 points; the next cheaper, prune=0.9, loses 6.3 points')
    """
    option = _checked_option(method, options)
    if method == "tolerance":
        return answer_of(frame, cost=cost, quality=quality, tolerance=option, counts=counts, model=model).saturation
    runs = select_group(frame, model=model)
    curve = curve_of(runs, cost=chosen_cost(runs, cost), quality=quality)
    row, reason = knee_row(curve, sensitivity=option)
    return _saturation(curve, row, "; ".join([reason, *remarks(curve)]), method=method)


@dataclass(frozen=True, kw_only=True, eq=False)
class ToleranceAnswer:
    """What method "tolerance" came to, and what it looked at."""

    curve: Curve
    choice: Choice
    saturation: Saturation


def answer_of(
    frame: pd.DataFrame,
    /,
    *,
    cost: str | None,
    quality: str | None,
    tolerance: float,
    counts: Counts | None,
    model: str | None,
) -> ToleranceAnswer:
    """Find the saturation point by method "tolerance". Parameters and errors: as for `saturation_point`."""
    runs = select_group(frame, model=model)
    curve = curve_of(runs, cost=chosen_cost(runs, cost), quality=quality)
    choice = choose_within(curve, tolerance=tolerance)
    interval = None
    if counts is not None and choice.outcome != "none":
        interval = interval_of(tolerated_costs(curve, resampled_losses(curve, counts), tolerance=tolerance))
    reason = "; ".join([_reason(curve, choice, tolerance), *remarks(curve, choice)])
    row = None if choice.outcome == "not reached" else choice.row
    saturation = _saturation(curve, row, reason, method="tolerance", interval=interval)
    return ToleranceAnswer(curve=curve, choice=choice, saturation=saturation)


def _reason(curve: Curve, choice: Choice, tolerance: float) -> str:
    row, rival = choice.row, choice.rival
    if row is None:
        return choice.problem
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


def _saturation(
    curve: Curve, row: int | None, reason: str, *, method: str, interval: tuple[float, float] | None = None
) -> Saturation:
    point = None if row is None else curve.points.iloc[row]
    return Saturation(
        point=point, reason=reason, method=method, cost=curve.cost, quality=curve.quality_column, interval=interval
    )


def _checked_option(method: str, options: dict[str, float]) -> float:
    """Return the value of the method's option. ValueError for an unknown method or option."""
    if method not in _METHODS:
        raise ValueError(f"unknown method {method!r}; there are {sorted(_METHODS)}")
    own = _METHODS[method]
    for option in options:
        if option != own:
            raise ValueError(f"method {method!r} has no option {option!r}; it takes {[own]}")
    return options.get(own, _OPTIONS[own])
