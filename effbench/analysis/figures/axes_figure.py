"""The figure of several axes: each axis's own curve, and the joint front behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from effbench.analysis.contributions import axis_rows, is_joined, moves_of
from effbench.analysis.curves.costs import chosen_cost
from effbench.analysis.curves.curve import curve_of
from effbench.analysis.curves.groups import select_group
from effbench.analysis.curves.pareto import front_rows
from effbench.analysis.figures.captions import FONT_SIZE
from effbench.analysis.figures.figure_axes import thin_ticks, write_axes
from effbench.analysis.figures.marks import BLACK, style_of
from effbench.analysis.figures.names import shown_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FRONT = "#C8C8C8"


def plot_axes(
    frame: pd.DataFrame,
    *,
    cost: str | None = None,
    quality: str | None = None,
    ax: Axes | None = None,
    model: str | None = None,
) -> Axes:
    """Draw each axis's own curve, the others at the reference's value, and the joint front of all points behind them.

    A line joins the points of an axis by cost, the reference among them; where an axis holds categories, that line is
    left out. Small dots are points that move several axes. Scales and units are those of `plot_saturation`.

    frame, cost, quality, model: as for `axis_contributions`. ax: where to draw; None makes a pyplot figure, which is
    the caller's to close. Returns the axes, whose artists have the gids joint_front, axis (one for each), several and
    reference. ValueError as for `axis_contributions`.

    >>> from matplotlib.figure import Figure
    >>> runs = pd.DataFrame({"point": ["reference", "prune=0.5", "bits=8", "prune=0.5, bits=8"],
    ...                      "size_bytes": [400, 200, 100, 50], "accuracy_val": [0.96, 0.95, 0.96, 0.95]})
    >>> ax = plot_axes(runs, ax=Figure().add_subplot())
    >>> sorted(text.get_text() for text in ax.get_legend().get_texts())
    ['bits', 'joint front', 'prune', 'reference', 'several axes']
    """
    runs = select_group(frame, model=model)
    curve = curve_of(runs, cost=chosen_cost(runs, cost), quality=quality)
    found = moves_of(curve) if len(curve) else None
    if found is None or not found.axes:
        raise ValueError("no axis varies over the points: there is nothing to draw one against the other")
    axes = _new_axes() if ax is None else ax
    x, y = curve.costs, curve.values
    front = front_rows(curve)
    axes.plot(
        x[front], y[front], color=_FRONT, linewidth=6, zorder=1.5, solid_capstyle="round", marker="o", markersize=9,
        markeredgewidth=0, label="joint front", gid="joint_front",
    )  # fmt: skip
    several = found.moved.sum(axis=1) > 1
    if several.any():
        axes.scatter(
            x[several], y[several], s=12, color="0.45", linewidths=0, zorder=2, label="several axes", gid="several"
        )
    for number, axis in enumerate(found.axes):
        style, rows = style_of(number), axis_rows(curve, axis)
        axes.plot(
            x[rows], y[rows], color=style.colour, marker=style.shape, markersize=5.5, zorder=3,
            linewidth=1.3 if is_joined(curve, axis) else 0, label=shown_name(axis), gid="axis",
        )  # fmt: skip
    where = sorted(set(curve.references.tolist()))
    axes.scatter(x[where], y[where], s=48, marker="D", color=BLACK, zorder=4, label="reference", gid="reference")
    write_axes(axes, [curve])
    legend = axes.legend(fontsize=FONT_SIZE, frameon=False, loc="best")
    for text in legend.get_texts():
        text.set_parse_math(False)
    thin_ticks(axes)
    return axes


def _new_axes() -> Axes:
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=(6.0, 4.0), layout="constrained")
    return ax
