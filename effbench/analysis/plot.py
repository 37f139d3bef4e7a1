"""The figure: quality against cost, the front, the saturation point and the reference."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from effbench.analysis.captions import FONT_SIZE, base_word, write_labels
from effbench.analysis.costs import chosen_cost
from effbench.analysis.counts import Counts
from effbench.analysis.curve import Curve, control_curve, curve_of
from effbench.analysis.figure_axes import write_axes
from effbench.analysis.groups import select_group
from effbench.analysis.labels import axes_are_numeric
from effbench.analysis.overlay import plot_several
from effbench.analysis.pareto import front_rows
from effbench.analysis.phrases import cheapest_is_acceptable_in_short
from effbench.analysis.placement import Label
from effbench.analysis.saturation import Saturation, saturation_point
from effbench.analysis.tolerance import DEFAULT_TOLERANCE, choose_within
from effbench.analysis.words import allowance, named

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette, told apart with every kind of colour vision; shapes differ as well, for grey prints.
_BLUE, _VERMILION, _BLACK, _GREY = "#0072B2", "#D55E00", "#000000", "#8C8C8C"


def plot_saturation(
    frame: pd.DataFrame | Sequence[Any],
    *,
    labels: Sequence[str] | None = None,
    cost: str | None = None,
    quality: str | None = None,
    ax: Axes | None = None,
    method: str = "tolerance",
    legend: bool = True,
    counts: Counts | None = None,
    model: str | None = None,
    **options: float,
) -> Axes:
    """Draw quality against cost, with the front, the saturation point and the reference.

    Seeds are averaged; error bars are their sample standard deviation, in both directions. A point that lacks seeds of
    its reference says so, and stands where it stands against the reference on the seeds of both. Named controls are
    drawn apart from the points. Without a reference, all are beside the most accurate point. The front is joined only
    when every axis that varies is a number. With many points only the reference, the front and the saturation point are
    named. The cost's axis is logarithmic where the points span more than a decade, that of a quality which is an
    exponential (perplexity) where they differ more than fourfold; 1 KB is 1000 bytes. Where lower values are better,
    the best points are at the bottom.

    Several sweeps are drawn over each other, each in a colour of its own: its front, its reference and its saturation
    point, on a cost that varies in all of them.

    Parameters
    ----------
    frame
        As for `saturation_point`; or several such frames, or results of `effbench.run_sweep`.
    labels
        What the legend calls each of several.
    cost, quality, method, counts, model, **options
        As for `saturation_point`; counts are for a single frame.
    legend
        Whether to write one; panels beside each other need it once.
    ax
        Where to draw. None makes a pyplot figure, which is the caller's to close; axes of a
        `matplotlib.figure.Figure()` leave nothing open.

    Returns
    -------
    matplotlib.axes.Axes
        Its artists have the gids points, front, saturation, reference, tolerance, deviations and, where
        there are controls, control, where the counts of the examples are given, interval.

    Raises
    ------
    ValueError
        As for `saturation_point`, when a frame has no rows, and when several have not one quality, or not a label each.

    Examples
    --------
    >>> import effbench
    >>> from matplotlib.figure import Figure
    >>> runs = pd.DataFrame({"point": ["reference", "prune=0.5", "prune=0.9"],
    ...                      "size_bytes": [400, 164, 60], "accuracy_val": [0.960, 0.952, 0.897]})
    >>> ax = effbench.plot_saturation(runs, ax=Figure().add_subplot())
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('file size (bytes)', 'validation accuracy (%)')
    >>> both = effbench.plot_saturation([runs, runs[:2]], labels=["long", "short"], ax=Figure().add_subplot())
    >>> [text.get_text() for text in both.get_legend().get_texts()][:2]
    ['long', 'short']
    """
    if not isinstance(frame, pd.DataFrame):
        return plot_several(
            frame,
            labels,
            _new_axes if ax is None else lambda: ax,
            cost=cost,
            quality=quality,
            method=method,
            legend=legend,
            model=model,
            **options,
        )
    if labels is not None:
        raise ValueError(f"labels={labels}: are for several frames, as in plot_saturation([a, b], labels=…)")
    runs = select_group(frame, model=model)
    cost = chosen_cost(runs, cost)
    saturation = saturation_point(runs, cost=cost, quality=quality, method=method, counts=counts, model=None, **options)
    curve = curve_of(runs, cost=cost, quality=quality)
    if len(curve) == 0:
        raise ValueError("the frame has no rows: there is nothing to draw")
    chosen = None if saturation.point is None else int(str(saturation.point.name))
    axes = _new_axes() if ax is None else ax
    _draw_deviations(axes, curve)
    _draw_points(axes, curve)
    controls = _draw_controls(axes, control_curve(runs, cost=cost, quality=quality))
    if chosen is not None:
        _circle(axes, curve, chosen)
        _draw_interval(axes, curve, chosen, saturation.interval)
    if method == "tolerance":
        _draw_tolerance(axes, curve, options.get("tolerance", DEFAULT_TOLERANCE))
    write_axes(axes, [curve])
    if chosen is None or chosen in curve.references:
        title = textwrap.fill(_title(curve, saturation, method, options), 62)
        axes.set_title(title, loc="left", fontsize=FONT_SIZE + 1, color=_VERMILION)
    if ax is None:
        axes.get_figure(root=True).draw_without_rendering()  # type: ignore[union-attr]  # final before text is placed
    write_labels(axes, curve, chosen, controls, legend=legend)
    return axes


def _title(curve: Curve, saturation: Saturation, method: str, options: dict[str, float]) -> str:
    """Return why there is no saturation point, or why it is the reference."""
    if method == "tolerance":
        choice = choose_within(curve, **options)
        if choice.outcome == "not reached" and choice.row is not None:
            return cheapest_is_acceptable_in_short(curve, choice.row, options.get("tolerance", DEFAULT_TOLERANCE))
    return saturation.reason


def _new_axes() -> Axes:
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=(6.0, 4.0), layout="constrained")
    return ax


def _draw_deviations(ax: Axes, curve: Curve) -> None:
    """Error bars, only at the points and in the directions that have a deviation."""
    for name in (curve.cost, curve.quality_column):
        deviations = curve.deviations[name].to_numpy(dtype=np.float64)
        known = deviations > 0  # not where it is NaN: one run has none
        if known.any():
            bars = ax.errorbar(
                curve.costs[known],
                curve.values[known],
                xerr=deviations[known] if name == curve.cost else None,
                yerr=deviations[known] if name == curve.quality_column else None,
                fmt="none", ecolor=_GREY, elinewidth=0.9, capsize=2.5, zorder=2,
            )  # fmt: skip
            for lines in bars[2]:
                lines.set_gid("deviations")


def _draw_points(ax: Axes, curve: Curve) -> None:
    x, y = curve.costs, curve.values
    front = front_rows(curve)
    references = np.unique(curve.references)
    dominated = np.setdiff1d(np.arange(len(curve)), [*front, *references])
    if axes_are_numeric(curve.points, curve.labels):
        ax.plot(x[front], y[front], color=_BLUE, linewidth=1.3, zorder=2.5, gid="front")
    ax.scatter(x[front], y[front], s=30, color=_BLUE, zorder=3.5, label="Pareto front", gid="points")
    if len(dominated) > 0:
        ax.scatter(
            x[dominated], y[dominated], s=26, facecolors="white", edgecolors=_GREY,
            zorder=3, label="dominated points", gid="points",
        )  # fmt: skip
    word = base_word(curve) + ("s" if len(references) > 1 else "")
    ax.scatter(x[references], y[references], s=48, marker="D", color=_BLACK, zorder=4, label=word, gid="reference")


def _draw_controls(ax: Axes, curve: Curve | None) -> list[Label]:
    """Draw uncompressed networks with an axis that moves no cost. Returns their labels."""
    if curve is None:
        return []
    rows = np.setdiff1d(np.arange(len(curve)), curve.references)
    ax.scatter(
        curve.costs[rows], curve.values[rows], s=44, marker="D", facecolors="white", edgecolors=_BLACK,
        zorder=3.8, label="uncompressed controls", gid="control",
    )  # fmt: skip
    return [Label(text=named(curve, r), x=float(curve.costs[r]), y=float(curve.values[r])) for r in rows]


def _circle(ax: Axes, curve: Curve, row: int) -> None:
    ax.scatter(
        curve.costs[row], curve.values[row], s=170, facecolors="none", edgecolors=_VERMILION, linewidths=2.0,
        zorder=5, label="saturation point", gid="saturation",
    )  # fmt: skip


def _draw_interval(ax: Axes, curve: Curve, chosen: int, interval: tuple[float, float] | None) -> None:
    """Draw over which costs the saturation point falls on examples drawn anew; nothing where it does not move."""
    if interval is not None and interval[0] < interval[1]:
        ax.plot(
            interval, curve.values[[chosen, chosen]], color=_VERMILION, alpha=0.35, linewidth=5.0,
            solid_capstyle="butt", zorder=1.5, label="95 % of its resamples", gid="interval",
        )  # fmt: skip


def _draw_tolerance(ax: Axes, curve: Curve, tolerance: float) -> None:
    """Draw how far points may be from their reference: a line for each level at which references are."""
    label = f"{base_word(curve)} {'−' if curve.sign > 0 else '+'} {allowance(curve, tolerance)}"
    for level in np.unique(curve.values[curve.references] - curve.sign * tolerance):
        ax.axhline(level, color=_BLACK, linewidth=0.9, linestyle=(0, (5, 3)), zorder=1, label=label, gid="tolerance")
        label = "_repeated"  # matplotlib leaves what begins so out of legends
