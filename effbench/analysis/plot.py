"""The figure: quality against cost, the front, the saturation point and the reference."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from effbench.analysis.costs import chosen_cost, cost_words
from effbench.analysis.counts import Counts
from effbench.analysis.curve import Curve, curve_of
from effbench.analysis.labels import axes_are_numeric
from effbench.analysis.pareto import front_rows
from effbench.analysis.placement import Box, Label, line_boxes, marker_boxes, place_labels, place_legend
from effbench.analysis.saturation import saturation_point
from effbench.analysis.words import allowance, amount, difference_unit, quality_title, scale, share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette, told apart with every kind of colour vision; shapes differ as well, for grey prints.
_BLUE, _VERMILION, _BLACK, _GREY = "#0072B2", "#D55E00", "#000000", "#8C8C8C"
_FONT_SIZE = 8.0
_FEW_POINTS = 8
_WIDE = 10.0
"""From this ratio of the largest cost to the smallest on an axis is logarithmic."""
_WIDE_EXPONENTIAL = 4.0
"""The same for qualities that are exponentials: differences of their logarithms are what counts."""


def plot_saturation(
    frame: pd.DataFrame,
    *,
    cost: str | None = None,
    quality: str | None = None,
    ax: Axes | None = None,
    method: str = "tolerance",
    legend: bool = True,
    counts: Counts | None = None,
    **options: float,
) -> Axes:
    """Draw quality against cost, with the front, the saturation point and the reference.

    Seeds are averaged; error bars are their sample standard deviation, in both directions. The front is joined only
    when every axis that varies is a number. With many points only the reference, the front and the saturation point are
    named. The cost's axis is logarithmic where the points span more than a decade, that of a quality which is an
    exponential (perplexity) where they differ more than fourfold; 1 KB is 1000 bytes. Where lower values are better,
    the best points are at the bottom.

    Parameters
    ----------
    frame, cost, quality, method, counts, **options
        As for `saturation_point`.
    legend
        Whether to write one; panels beside each other need it once.
    ax
        Where to draw. None makes a pyplot figure, which is the caller's to close; axes of a
        `matplotlib.figure.Figure()` leave nothing open.

    Returns
    -------
    matplotlib.axes.Axes
        Its artists have the gids points, front, saturation, reference, tolerance, deviations and, where
        the counts of the examples are given, interval.

    Raises
    ------
    ValueError
        As for `saturation_point`, and when the frame has no rows.
    """
    cost = chosen_cost(frame, cost)
    saturation = saturation_point(frame, cost=cost, quality=quality, method=method, counts=counts, **options)
    curve = curve_of(frame, cost=cost, quality=quality)
    if len(curve) == 0:
        raise ValueError("the frame has no rows: there is nothing to draw")
    chosen = None if saturation.point is None else int(str(saturation.point.name))
    axes = _new_axes() if ax is None else ax
    _draw_deviations(axes, curve)
    _draw_points(axes, curve)
    if chosen is not None:
        _circle(axes, curve, chosen)
        _draw_interval(axes, curve, chosen, saturation.interval)
    if method == "tolerance":
        _draw_tolerance(axes, curve, options.get("tolerance", 0.02))
    _write_axes(axes, curve)
    if chosen is None or chosen == curve.reference:
        reason = textwrap.fill(saturation.reason, 62)
        axes.set_title(reason, loc="left", fontsize=_FONT_SIZE + 1, color=_VERMILION)
    if ax is None:
        axes.get_figure(root=True).draw_without_rendering()  # type: ignore[union-attr]  # final before text is placed
    _write_labels(axes, curve, chosen, legend=legend)
    return axes


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
    dominated = np.setdiff1d(np.arange(len(curve)), [*front, curve.reference])
    if axes_are_numeric(curve.points, curve.labels):
        ax.plot(x[front], y[front], color=_BLUE, linewidth=1.3, zorder=2.5, gid="front")
    ax.scatter(x[front], y[front], s=30, color=_BLUE, zorder=3.5, label="Pareto front", gid="points")
    if len(dominated) > 0:
        ax.scatter(
            x[dominated], y[dominated], s=26, facecolors="white", edgecolors=_GREY,
            zorder=3, label="dominated points", gid="points",
        )  # fmt: skip
    at = curve.reference
    ax.scatter(x[at], y[at], s=48, marker="D", color=_BLACK, zorder=4, label="reference", gid="reference")


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
    level = curve.values[curve.reference] - curve.sign * tolerance
    label = f"reference {'−' if curve.sign > 0 else '+'} {allowance(curve, tolerance)}"
    ax.axhline(level, color=_BLACK, linewidth=0.9, linestyle=(0, (5, 3)), zorder=1, label=label, gid="tolerance")


def _write_axes(ax: Axes, curve: Curve) -> None:
    from matplotlib.ticker import FuncFormatter

    low, high = float(curve.costs[0]), float(curve.costs[-1])
    words = cost_words(curve.cost)
    size, unit = words.unit_for(low, high)
    ax.set_xlabel(words.title + (f" ({unit})" if unit else ""))
    ax.set_ylabel(quality_title(curve))
    if low > 0 and high > _WIDE * low:
        _scale_logarithmically(ax, "x", decades=np.log10(high / low))
    lowest, highest = float(curve.values.min()), float(curve.values.max())
    is_exponential = curve.quality is not None and curve.quality.kind == "exp_of_ratio"
    if is_exponential and lowest > 0 and highest > _WIDE_EXPONENTIAL * lowest:
        _scale_logarithmically(ax, "y", decades=np.log10(highest / lowest))
    factor = scale(curve)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / size:.6g}"))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{factor * value:.6g}"))
    ax.margins(x=0.12, y=0.14)
    ax.grid(True, color="0.92", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _scale_logarithmically(ax: Axes, direction: Literal["x", "y"], *, decades: float) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    ax.set(**{f"{direction}scale": "log"})
    axis = ax.xaxis if direction == "x" else ax.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 3 else (1.0,)))
    axis.set_minor_formatter(NullFormatter())


def _write_labels(ax: Axes, curve: Curve, chosen: int | None, *, legend: bool) -> None:
    """Write the legend, then names: the saturation point and the reference always, others where there is room."""
    ax.autoscale_view()
    obstacles = _obstacles(ax, curve, chosen)
    if legend:
        obstacles.append(place_legend(ax, obstacles=obstacles, fontsize=_FONT_SIZE)[1])
    few = len(curve) <= _FEW_POINTS
    front = front_rows(curve)
    rows = dict.fromkeys([row for row in (chosen, curve.reference) if row is not None])
    rows |= dict.fromkeys(int(row) for row in front) | (dict.fromkeys(range(len(curve))) if few else {})
    labels = [
        Label(
            text=_chosen_text(curve, row) if row == chosen else _name(curve, row),
            x=float(curve.costs[row]),
            y=float(curve.values[row]),
            optional=not few and row not in (chosen, curve.reference),
            bold=row == chosen,
            clearance=5.0 if row == chosen else 0.0,
        )
        for row in rows
    ]
    place_labels(ax, labels, obstacles=obstacles, fontsize=_FONT_SIZE)


def _obstacles(ax: Axes, curve: Curve, chosen: int | None) -> list[Box]:
    """Return what text should not cover: markers, error bars, the joined front and the tolerance line."""
    x, y = curve.costs, curve.values
    boxes = marker_boxes(ax, x, y, size=7)
    if chosen is not None:
        boxes += marker_boxes(ax, x[[chosen]], y[[chosen]], size=14)
    for row in range(len(curve)):
        wide, tall = np.nan_to_num([curve.deviations[name].iloc[row] for name in (curve.cost, curve.quality_column)])
        boxes += line_boxes(ax, x[row].repeat(2), np.array([max(y[row] - tall, ax.get_ylim()[0]), y[row] + tall]))
        boxes += line_boxes(ax, np.array([max(x[row] - wide, ax.get_xlim()[0]), x[row] + wide]), y[row].repeat(2))
    for line in ax.lines:
        if line.get_gid() in ("front", "interval"):
            boxes += line_boxes(ax, *np.asarray(line.get_xydata(), dtype=np.float64).T)
        elif line.get_gid() == "tolerance":
            boxes += line_boxes(ax, np.asarray(ax.get_xlim()), np.asarray(line.get_ydata(), dtype=np.float64))
    return boxes


def _name(curve: Curve, row: int) -> str:
    return "reference" if row == curve.reference and curve.marked[row] else curve.labels[row]


def _chosen_text(curve: Curve, row: int) -> str:
    """Name the saturation point, and say under it what it saves and what it costs."""
    reference_cost = float(curve.costs[curve.reference])
    if row == curve.reference or reference_cost <= 0:
        return _name(curve, row)
    rise = scale(curve) * float(curve.values[row] - curve.values[curve.reference])
    saved = f"{share(float(curve.costs[row]) / reference_cost)} {cost_words(curve.cost).share}"
    difference = f"{'−' if rise < 0 else '+'}{amount(curve, abs(rise))} {difference_unit(curve)}".rstrip()
    return f"{curve.labels[row]}\n{textwrap.fill(saved, 24)},\n{difference}"
