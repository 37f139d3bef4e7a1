"""What is drawn of a curve: points, the lines of series, seeds, references, the saturation point and its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from effbench.analysis.curves.curve import Curve
from effbench.analysis.curves.pareto import front_rows
from effbench.analysis.curves.series import Series, series_of
from effbench.analysis.curves.words import allowance
from effbench.analysis.figures.legend import Entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette without its yellow, told apart with every kind of colour vision; shapes differ as well.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#8C4A1F", "#4D4D4D")
SHAPES = ("o", "s", "^", "v", "P", "X", "p")
VERMILION, BLACK, GREY = "#D55E00", "#000000", "#767676"
DARK_RED = "#9A3B00"
"""Of text: dark enough on white to be read when small."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """How a series is drawn."""

    colour: str
    shape: str


def style_of(number: int, /) -> Style:
    """Return the style of the series of that number: 49 are all different."""
    n_shapes = len(SHAPES)
    return Style(colour=COLOURS[number % len(COLOURS)], shape=SHAPES[(number + number // len(COLOURS)) % n_shapes])


def base_word(curve: Curve, /) -> str:
    """Return what a figure calls that with which points are compared."""
    return "most accurate" if curve.base == "most accurate" else "reference"


def draw_points(ax: Axes, curve: Curve, names: Sequence[str] = ()) -> list[Entry]:
    """Draw a curve: a line for each series, filled marks on the front, hollow ones elsewhere, diamonds for references.

    names: of the series of all panels, which give each its style; those of the curve itself where there are none.
    Returns what a legend says of them.
    """
    series = series_of(curve)
    names = list(names) or [one.name for one in series]
    front, references = set(front_rows(curve).tolist()), set(curve.references.tolist())
    entries = []
    for one in series:
        style = style_of(names.index(one.name))
        entries += _draw_series(ax, curve, one, style, front=front, references=references)
    entries += _draw_meanings(ax, curve, is_single=len(names) < 2, front=front, references=references)
    where = np.array(sorted(references))
    word = base_word(curve) + ("s" if len(references) > 1 else "")
    drawn = ax.scatter(
        curve.costs[where], curve.values[where], s=48, marker="D", color=BLACK, zorder=4, label=word, gid="reference"
    )
    return [*entries, Entry(drawn, word)]


def _draw_series(
    ax: Axes, curve: Curve, series: Series, style: Style, *, front: set[int], references: set[int]
) -> list[Entry]:
    x, y = curve.costs, curve.values
    line = None
    if series.is_joined:
        (line,) = ax.plot(
            x[series.rows], y[series.rows], color=style.colour, linewidth=1.3, zorder=2.5, gid="front",
            marker=style.shape, markersize=0, label=f"_{series.name}",
        )  # fmt: skip
    for is_front in (True, False):
        left_out = set() if is_front else references  # a diamond covers what is on the front
        rows = np.array([r for r in series.rows if (r in front) == is_front and r not in left_out], dtype=np.int64)
        face = style.colour if is_front else "white"
        if len(rows):
            ax.scatter(
                x[rows], y[rows], s=30 if is_front else 26, marker=style.shape, facecolors=face,
                edgecolors=style.colour, linewidths=1.1, zorder=3.5 if is_front else 3.2, gid="points",
            )  # fmt: skip
    if not series.name or set(series.rows.tolist()) <= references:
        return []
    from matplotlib.lines import Line2D

    shown: dict[str, Any] = {"linestyle": "-" if line is not None else "none", "linewidth": 1.3}
    return [
        Entry(
            Line2D([], [], color=style.colour, marker=style.shape, markersize=5.5, **shown), series.name, is_series=True
        )
    ]


def _draw_meanings(ax: Axes, curve: Curve, *, is_single: bool, front: set[int], references: set[int]) -> list[Entry]:
    """Return what filled and hollow marks mean, as far as there are such."""
    from matplotlib.lines import Line2D

    colour = COLOURS[0] if is_single else GREY
    plain: dict[str, Any] = {"color": colour, "marker": "o", "linestyle": "none", "markersize": 5.5}
    entries = []
    if front - references:
        entries.append(Entry(Line2D([], [], **plain), "Pareto front"))
    if set(range(len(curve))) - front - references:
        hollow = Line2D([], [], markerfacecolor="white", **plain)
        entries.append(Entry(hollow, "dominated points"))
    return entries


def draw_deviations(ax: Axes, curve: Curve) -> list[Entry]:
    """Draw the single seeds, and bars at the points and in the directions that have a deviation."""
    from matplotlib.lines import Line2D

    entries: list[Entry] = []
    if int(curve.n_seeds.max()) > 1:
        runs = curve.pairs.runs
        x, y = (np.asarray(curve.runs[name], dtype=np.float64)[runs] for name in (curve.cost, curve.quality_column))
        ax.scatter(x, y, s=8, color=GREY, alpha=0.6, linewidths=0, zorder=2.2, gid="seeds")
        dot = Line2D([], [], color=GREY, marker=".", linestyle="none", markersize=6)
        entries.append(Entry(dot, "single seeds"))
    said = False
    for name in (curve.cost, curve.quality_column):
        deviations = curve.deviations[name].to_numpy(dtype=np.float64)
        known = deviations > 0  # not where it is NaN: one run has none
        if known.any():
            bars = ax.errorbar(
                curve.costs[known],
                curve.values[known],
                xerr=deviations[known] if name == curve.cost else None,
                yerr=deviations[known] if name == curve.quality_column else None,
                fmt="none", ecolor=GREY, elinewidth=0.9, capsize=2.5, zorder=2,
            )  # fmt: skip
            for lines in bars[2]:
                lines.set_gid("deviations")
            if not said:
                entries.append(Entry(bars, "± standard deviation over seeds"))
            said = True
    return entries


def draw_controls(ax: Axes, curve: Curve | None) -> list[Entry]:
    """Draw uncompressed networks with an axis that moves no cost."""
    if curve is None:
        return []
    rows = np.setdiff1d(np.arange(len(curve)), curve.references)
    drawn = ax.scatter(
        curve.costs[rows], curve.values[rows], s=44, marker="D", facecolors="white", edgecolors=BLACK,
        zorder=3.8, gid="control",
    )  # fmt: skip
    return [Entry(drawn, "uncompressed controls")]


def draw_chosen(
    ax: Axes, curve: Curve, row: int, interval: tuple[float, float] | None, *, colour: str = VERMILION
) -> list[Entry]:
    """Circle the saturation point, and mark over which costs it falls on examples drawn anew, where it moves."""
    ring = ax.scatter(
        curve.costs[row], curve.values[row], s=170, facecolors="none", edgecolors=colour, linewidths=2.0,
        zorder=5, gid="saturation",
    )  # fmt: skip
    entries = [Entry(ring, "saturation point")]
    if interval is not None and interval[0] < interval[1]:
        ax.axvspan(*interval, color=colour, alpha=0.10, linewidth=0, zorder=0.5, gid="interval_band")
        (bar,) = ax.plot(
            interval, curve.values[[row, row]], color=colour, alpha=0.4, linewidth=5.0, solid_capstyle="butt",
            zorder=1.5, gid="interval",
        )  # fmt: skip
        entries.append(Entry(bar, "its 95 % interval"))
    return entries


def draw_tolerance(ax: Axes, curve: Curve, tolerance: float) -> list[Entry]:
    """Draw how far points may be from their reference: a line for each level at which references are."""
    label = f"{base_word(curve)} {'−' if curve.sign > 0 else '+'} {allowance(curve, tolerance)}"
    style: dict[str, Any] = {
        "color": BLACK,
        "linewidth": 0.9,
        "linestyle": (0, (5, 3)),
        "zorder": 1,
        "gid": "tolerance",
    }
    levels = np.unique(curve.values[curve.references] - curve.sign * tolerance)
    lines = [ax.axhline(level, label=label, **style) for level in levels]
    return [Entry(lines[0], label)]
