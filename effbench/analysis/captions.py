"""The names in the figure of a curve: of its points, of what was chosen, and the legend."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from effbench.analysis.costs import cost_words
from effbench.analysis.curve import Curve
from effbench.analysis.pareto import front_rows
from effbench.analysis.placement import Box, Label, line_boxes, marker_boxes, place_labels, place_legend
from effbench.analysis.words import amount, difference_unit, named, scale, share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FONT_SIZE = 8.0
_FEW_POINTS = 8


def write_labels(ax: Axes, curve: Curve, chosen: int | None, controls: Sequence[Label], *, legend: bool) -> None:
    """Write the legend, then names: the saturation point and the reference always, others where there is room."""
    ax.autoscale_view()
    obstacles = _obstacles(ax, curve, chosen)
    x, y = (np.array([getattr(label, direction) for label in controls]) for direction in "xy")
    obstacles += marker_boxes(ax, x, y, size=7) if controls else []
    if legend:
        obstacles.append(place_legend(ax, obstacles=obstacles, fontsize=FONT_SIZE)[1])
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
    place_labels(ax, [*labels, *controls], obstacles=obstacles, fontsize=FONT_SIZE)


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


def base_word(curve: Curve, /) -> str:
    """Return what a figure calls that with which points are compared."""
    return "most accurate" if curve.base == "most accurate" else "reference"


def _name(curve: Curve, row: int) -> str:
    is_marked = curve.base == "reference" and row in curve.references
    text = "reference" if is_marked and not curve.has_several_references else named(curve, row)
    return text.replace(" asked, ", " asked,\n")


def _chosen_text(curve: Curve, row: int) -> str:
    """Name the saturation point, and say under it what it saves and what it costs."""
    if row in curve.references or not curve.ratios[row] > 0:
        return _name(curve, row)
    rise = -curve.sign * scale(curve) * float(curve.losses[row])
    saved = f"{share(float(curve.ratios[row]))} {cost_words(curve.cost).share}"
    difference = f"{'−' if rise < 0 else '+'}{amount(curve, abs(rise))} {difference_unit(curve)}".rstrip()
    return f"{_name(curve, row)}\n{textwrap.fill(saved, 24)},\n{difference}"
