"""The saturation point: where on the trade-off curve compression stops being free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis.curves.costs import chosen_cost
from effbench.analysis.curves.counts import Counts
from effbench.analysis.curves.curve import Curve, curve_of
from effbench.analysis.curves.groups import select_group
from effbench.analysis.definitions.choice import Choice
from effbench.analysis.definitions.methods import Method, method_of
from effbench.analysis.definitions.phrases import remarks
from effbench.analysis.definitions.reasons import reason_of
from effbench.analysis.definitions.tolerance import ToleranceBound
from effbench.analysis.uncertainty.bootstrap import interval_of, resampled_losses
from effbench.analysis.uncertainty.detail_changes import Change, detail_changes
from effbench.analysis.uncertainty.firmness import Firmness, firmness_of
from effbench.analysis.uncertainty.flips import flips_of


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
    """95 % of the costs that the choice has on other examples, and with other seeds where there are several; where the
    counts were given. Where the cheapest point still is acceptable (not reached) that is its choice."""
    shares: Mapping[str, float] | None = None
    """Share of these choices that fell on each point, by its label, the most often chosen first."""
    is_stable: bool | None = None
    """Whether one point has at least half of them."""
    covers: str = ""
    """What they cover: "3 seeds" (and their examples), "examples only, 1 seed", or of a latency "3 seeds, rounds"."""
    loss_interval: tuple[float, float] | None = None
    """95 % of what the chosen point loses, in what the quality's column holds."""
    test_loss: float | None = None
    """What it loses on the test split, where that was measured, and 95 % of it, where its counts were given."""
    test_loss_interval: tuple[float, float] | None = None
    flips: tuple[float, float] | None = None
    """Shares of the test examples that are newly wrong and newly right there, against the reference (`flips_of`)."""
    changes: Mapping[str, Change] = field(default_factory=dict)
    """What the worst class loses there on test, and by how much the calibration error is larger, by their columns
    (`detail_changes`)."""

    @property
    def row(self) -> int | None:
        """The row of the point on its curve."""
        return None if self.point is None else int(str(self.point.name))

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
    test_counts: Counts | None = None,
    model: str | None = None,
    **options: Any,
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
        The definition; its options in brackets. "tolerance" (`tolerance`, 0.02): the cheapest point whose quality is
        within the tolerance of the reference's, inclusive: the last acceptable one. "tolerance_bound" (`tolerance`;
        needs counts): the cheapest one of which that is sure, by the upper end of the 95 % interval of what it loses.
        "kneedle" (`sensitivity`, 1.0; `cost_axis`, linear or log): the knee of the front (Satopaa et al. 2011,
        doi:10.1109/ICDCSW.2011.20). "marginal" (`rate`, 1.0): from where a doubling of the cost buys fewer points of
        quality than `rate`. "price" (`price`): the least cost + price · points lost, where the price is what a point is
        worth in the cost's unit.
    counts
        The counts of the examples behind `quality`, by run key (`load_counts` reads them). The answer then says how
        firm it is: the same choice on 1,000 paired resamples. With them, a knee or a marginal rate must stand out from
        a straight line.
    test_counts
        Those of the test split, for the interval of what the chosen point loses there.
    model
        The network, where the frame has several, each with a reference of its own.
    **options
        The method's own options.

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
    found = answer_of(
        frame,
        cost=cost,
        quality=quality,
        method=method,
        counts=counts,
        test_counts=test_counts,
        model=model,
        **options,
    )
    return found.saturation


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """What a method came to, and what it looked at."""

    curve: Curve
    choice: Choice
    method: Method
    firmness: Firmness | None
    """None without counts, and where there is no answer."""
    drawn: NDArray[np.float64] | None
    """(n_resamples, n_points) losses on other examples and with other seeds; None without counts."""
    saturation: Saturation


def answer_of(
    frame: pd.DataFrame,
    /,
    *,
    cost: str | None = None,
    quality: str | None = None,
    method: str = "tolerance",
    counts: Counts | None = None,
    test_counts: Counts | None = None,
    model: str | None = None,
    **options: Any,
) -> Found:
    """Find the saturation point. Parameters and errors: as for `saturation_point`."""
    rule = method_of(method, options)
    runs = select_group(frame, model=model)
    curve = curve_of(runs, cost=chosen_cost(runs, cost), quality=quality)
    drawn = None if counts is None or len(curve) < 2 or curve.base == "missing" else resampled_losses(curve, counts)
    if drawn is None and isinstance(rule, ToleranceBound) and len(curve) > 1:
        raise ValueError(f"method {method!r} needs counts=, those of the examples: effbench.load_counts(runs)")
    found = _found(curve, rule, method, drawn)
    return replace(found, saturation=_with_test(found.saturation, curve, found.choice.row, test_counts))


def by_other_method(found: Found, method: str, options: Mapping[str, Any], /) -> Found:
    """Return what another method comes to on the same curve, by the same resamples; test is left out.

    ValueError as for `saturation_point`.
    """
    return _found(found.curve, method_of(method, options), method, found.drawn)


def _found(curve: Curve, rule: Method, method: str, drawn: NDArray[np.float64] | None) -> Found:
    choice = rule.choose(curve, drawn)
    firmness = None
    if drawn is not None and choice.outcome != "none":
        firmness = firmness_of(curve, choice.row, rule, drawn)
    row = None if choice.outcome == "not reached" else choice.row
    saturation = Saturation(
        point=None if row is None else curve.points.iloc[row],
        reason="; ".join([reason_of(curve, choice, rule, drawn), *remarks(curve, choice)]),
        method=method,
        cost=curve.cost,
        quality=curve.quality_column,
    )
    if firmness is not None:
        saturation = replace(
            saturation,
            interval=firmness.interval,
            shares=firmness.shares,
            is_stable=firmness.is_stable,
            covers=firmness.covers,
            loss_interval=firmness.loss,
        )
    return Found(curve=curve, choice=choice, method=rule, firmness=firmness, drawn=drawn, saturation=saturation)


def _with_test(saturation: Saturation, curve: Curve, row: int | None, counts: Counts | None) -> Saturation:
    """Return an answer with what its point loses on the test split."""
    column = curve.test_column
    if row is None or column is None:
        return saturation
    loss = float(curve.losses_of(column)[row])
    if not np.isfinite(loss):
        return saturation
    if counts is None or row in curve.references:
        return replace(saturation, test_loss=loss)
    interval = interval_of(resampled_losses(curve, counts, column=column, only=row)[:, row])
    return replace(
        saturation,
        test_loss=loss,
        test_loss_interval=interval,
        flips=flips_of(curve, counts, row),
        changes=detail_changes(curve, counts, row),
    )
