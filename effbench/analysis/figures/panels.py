"""The figure of a sweep: a panel for each group of runs and cost, one legend for all, no place left empty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from effbench.analysis.answers import Answer
from effbench.analysis.curves.costs import cost_words
from effbench.analysis.curves.curve import Curve, control_curve
from effbench.analysis.curves.series import series_of
from effbench.analysis.figures.captions import FONT_SIZE, wrapped, write_labels
from effbench.analysis.figures.legend import Entry, unique_entries, write_legend
from effbench.analysis.figures.plot import draw_panel
from effbench.analysis.figures.saving import figure_bytes
from effbench.analysis.saturation import Found

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT = 4.5, 3.1
"""Of the axes of a panel, in inches; so are the margins."""
_LEFT, _RIGHT, _BOTTOM, _TOP = 0.66, 0.24, 0.52, 0.12
_LINE = 0.165
"""Height of a line of a title, or of the legend's."""
_PROPORTIONAL = 2e-3


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """What one panel shows."""

    answer: Answer
    found: Found
    alike: tuple[str, ...] = ()
    """Costs that are in proportion to this one, whose panels would look the same."""


def answers_png(found: Sequence[Answer], /) -> bytes:
    """Return the figure of answers with a cost (at least one) as a PNG: see `answers_figure`."""
    return figure_bytes(answers_figure(found), "png")


def answers_figure(found: Sequence[Answer], /) -> Figure:
    """Draw a panel for each answer that has a cost: the quality against that.

    Where there are several groups, each panel has the name of its own. Costs of a group that are in proportion are one
    panel, which says so. The legend stands below, or in the place of a panel that is free. Axes have one size in
    inches, whatever their number, and so names are as large as in any figure.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.style import context

    panels = _panels([answer for answer in found if answer.found is not None])
    n_columns = min(len(panels), 2)
    with context("default"):  # the user's own style may be dark
        drawing = Figure(figsize=(10, 10), facecolor="white")
        FigureCanvasAgg(drawing)
        drawn = [_draw(drawing, panel, panels) for panel in panels]
        entries = unique_entries([entry for _, own, _ in drawn for entry in own])
        _lay_out(drawing, [(ax, n_lines) for ax, _, n_lines in drawn], n_columns, entries)
    return drawing


def _panels(found: Sequence[Answer]) -> list[Panel]:
    """Return the panels of answers, those of each group that look the same once."""
    panels: list[Panel] = []
    for answer in found:
        assert answer.found is not None, "only what has a cost is drawn"
        new, curve = Panel(answer=answer, found=answer.found), answer.found.curve
        same = [p for p in panels if p.answer.group == answer.group and in_proportion(p.found.curve, curve)]
        if not same:
            panels.append(new)
        elif (same[0].found.curve.cost, curve.cost) == ("macs_effective", "macs"):  # the plainer name
            panels[panels.index(same[0])] = replace(new, alike=(same[0].found.curve.cost, *same[0].alike))
        else:
            panels[panels.index(same[0])] = replace(same[0], alike=(*same[0].alike, curve.cost))
    return panels


def in_proportion(one: Curve, other: Curve, /) -> bool:
    """Whether two curves of one group look the same, but for the numbers on their axis of costs."""
    if len(one) != len(other) or one.labels != other.labels or not (one.costs > 0).all():
        return False
    ratios = other.costs / one.costs
    return bool(np.ptp(ratios) <= _PROPORTIONAL * abs(float(ratios.mean())))


def _draw(drawing: Figure, panel: Panel, panels: Sequence[Panel]) -> tuple[Axes, list[Entry], int]:
    """Draw a panel. Returns its axes, what the legend says, and the number of lines above the axes."""
    size = drawing.get_size_inches()
    ax = drawing.add_axes((0.1, 0.1, _WIDTH / size[0], _HEIGHT / size[1]))
    names = list(dict.fromkeys(series.name for one in panels for series in series_of(one.found.curve)))
    runs, curve = panel.answer.runs, panel.found.curve
    entries = draw_panel(ax, runs, panel.found, names=names)
    if panel.alike:
        alike = ", ".join(cost_words(cost).title for cost in panel.alike)
        lines = wrapped(ax, f"(in proportion: {alike})", ax.get_window_extent().width, fontsize=FONT_SIZE)
        ax.set_xlabel("\n".join([ax.get_xlabel(), *lines]))
    write_labels(ax, curve, panel.found.saturation, control_curve(runs, cost=curve.cost))
    lines = ax.get_title(loc="left").split("\n") if ax.get_title(loc="left") else []
    if panel.answer.group:
        width = ax.get_window_extent().width
        group = wrapped(ax, panel.answer.group, width, fontsize=FONT_SIZE + 1.5, fontweight="bold")
        _write_group(ax, group, below=len(lines))
        lines = [*group, *lines]
    return ax, entries, len(lines)


def _write_group(ax: Axes, lines: Sequence[str], *, below: int) -> None:
    """Write the name of a group above the axes and their title of `below` lines."""
    ax.annotate(
        "\n".join(lines), (0, 1), xycoords="axes fraction", xytext=(0, 6 + 72 * _LINE * below),
        textcoords="offset points", fontsize=FONT_SIZE + 1.5, fontweight="bold", verticalalignment="bottom",
        parse_math=False, annotation_clip=False, gid="group",
    )  # fmt: skip


def _lay_out(drawing: Figure, drawn: Sequence[tuple[Axes, int]], n_columns: int, entries: Sequence[Entry]) -> None:
    """Put axes of a fixed size beside and below each other, and the legend below them or where a place is free."""
    rows = [drawn[start : start + n_columns] for start in range(0, len(drawn), n_columns)]
    tops = [_TOP + _LINE * max(n_lines for _, n_lines in row) for row in rows]
    cell = _LEFT + _WIDTH + _RIGHT
    bottoms = [_BOTTOM + _LINE * max(ax.get_xlabel().count("\n") for ax, _ in row) for row in rows]
    width, height = n_columns * cell, sum(tops) + sum(bottoms) + len(rows) * _HEIGHT
    is_free = len(rows[-1]) < n_columns
    drawing.set_size_inches(width, height)
    legend = _legend(
        drawing,
        entries,
        n_columns=1 if is_free and len(entries) < 14 else len(entries),
        width=_WIDTH if is_free else width,
        fontsize=FONT_SIZE + (1.5 if is_free else 0.0),
    )
    extent = legend.get_window_extent()
    strip = 0.0 if is_free else extent.height / drawing.dpi + 0.08
    height += strip
    drawing.set_size_inches(width, height)
    top = height
    for row, above, below in zip(rows, tops, bottoms, strict=True):
        bottom = top - above - _HEIGHT
        for number, (ax, _) in enumerate(row):
            ax.set_position(((number * cell + _LEFT) / width, bottom / height, _WIDTH / width, _HEIGHT / height))
        top = bottom - below
    if is_free:
        middle = (1.5 * cell + (_LEFT - _RIGHT) / 2, strip + bottoms[-1] + _HEIGHT / 2)
        place = (
            (middle[0] - extent.width / drawing.dpi / 2) / width,
            (middle[1] - extent.height / drawing.dpi / 2) / height,
        )
    else:
        place = ((width - extent.width / drawing.dpi) / 2 / width, 0.06 / height)
    legend.set_loc(place)


def _legend(drawing: Figure, entries: Sequence[Entry], *, n_columns: int, width: float, fontsize: float) -> Any:
    """Return a legend of as many columns as a width (inches) has room for, its rows filled evenly."""
    options: dict[str, Any] = {"fontsize": fontsize, "loc": (0, 0), "borderaxespad": 0.0, "columnspacing": 1.4}
    for n in range(n_columns, 0, -1):
        n_rows = -(-len(entries) // n)
        even = -(-len(entries) // n_rows)
        legend = write_legend(drawing, entries, ncols=even, **options)
        if n == 1 or legend.get_window_extent().width <= (width - 0.1) * drawing.dpi:
            return legend
        legend.remove()
    raise AssertionError("there is something to explain")
