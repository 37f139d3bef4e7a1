"""The names in the figure of a curve: of its points, of what was chosen, and above it why there is no such point."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from effbench.analysis.curves.costs import cost_words
from effbench.analysis.curves.curve import Curve
from effbench.analysis.curves.labels import without_parts
from effbench.analysis.curves.pareto import front_rows
from effbench.analysis.curves.series import series_of
from effbench.analysis.curves.words import amount, difference_unit, named, scale, share
from effbench.analysis.figures.figure_axes import thin_ticks
from effbench.analysis.figures.legend import Entry, place_legend
from effbench.analysis.figures.marks import DARK_RED
from effbench.analysis.figures.names import shown_name
from effbench.analysis.figures.placement import (
    Box,
    Label,
    line_boxes,
    marker_boxes,
    pixels_per_point,
    place_labels,
    text_size,
)
from effbench.analysis.saturation import Saturation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FONT_SIZE = 8.5
_SMALLEST_FONT, _WIDE_ENOUGH = 5.5, 290.0
"""Text is smaller in axes that are narrower than so many points."""
_FEW_POINTS = 8
_MOST_TITLE_LINES = 4


def write_labels(
    ax: Axes, curve: Curve, saturation: Saturation, controls: Curve | None, *, legend: Sequence[Entry] = ()
) -> None:
    """Write the legend, then names: the saturation point and the reference always, others where there is room.

    legend: its entries; none where it stands elsewhere. The limits of the axes may grow for it.
    """
    chosen = saturation.row
    ax.autoscale_view()
    ax.set(xlim=ax.get_xlim(), ylim=ax.get_ylim())  # what is drawn from here on moves nothing
    tall = [control_label(controls, row) for row in _control_rows(controls)]

    def obstacles() -> list[Box]:
        return [*obstacles_of(ax, curve, chosen), *marker_boxes(ax, *_places(tall), size=7)]

    taken, size = [], font_size(ax)
    if legend:
        taken.append(place_legend(ax, legend, obstacles=obstacles, fontsize=size))
    thin_ticks(ax)
    anchors = [*zip(curve.costs.tolist(), curve.values.tolist(), strict=True), *((one.x, one.y) for one in tall)]
    labels = [*_labels(curve, saturation), *tall]
    place_labels(ax, labels, obstacles=[*obstacles(), *taken], fontsize=size, anchors=anchors)


def font_size(ax: Axes, /) -> float:
    """Return the size of names and legend in axes, in points."""
    width = ax.get_window_extent().width / pixels_per_point(ax)
    return float(np.clip(FONT_SIZE * width / _WIDE_ENOUGH, _SMALLEST_FONT, FONT_SIZE))


def _labels(curve: Curve, saturation: Saturation) -> list[Label]:
    """Return the names of points, the most important first."""
    chosen = saturation.row
    few = len(curve) <= _FEW_POINTS
    told = _told_by_legend(curve)
    needed = [row for row in (chosen, curve.reference) if row is not None]
    rest = list(range(len(curve))) if few else _thinned([int(row) for row in front_rows(curve)])
    return [
        Label(
            text=_chosen_text(curve, row, saturation) if row == chosen else _name(curve, row, told.get(row, ())),
            x=float(curve.costs[row]),
            y=float(curve.values[row]),
            optional=row not in needed,
            near=not few and row not in needed,
            bold=row == chosen,
            clearance=5.0 if row == chosen else 0.0,
        )
        for row in dict.fromkeys([*needed, *rest])
    ]


def _thinned(rows: list[int]) -> list[int]:
    """Return rows so that of those that come first as many as there is room for are spread: ends, middle, quarters."""
    ordered: list[int] = []
    step = max(len(rows) - 1, 1)
    while len(ordered) < len(rows):
        ordered += [row for row in [*rows[::step], *rows[-1:]] if row not in ordered]
        step = max(step // 2, 1)
    return ordered


def control_label(controls: Curve | None, row: int, /) -> Label:
    """Return the name of an uncompressed control."""
    assert controls is not None, "there is none"
    x, y = float(controls.costs[row]), float(controls.values[row])
    return Label(text=shown_name(named(controls, row)), x=x, y=y, optional=True)


def _control_rows(controls: Curve | None) -> list[int]:
    return [] if controls is None else np.setdiff1d(np.arange(len(controls)), controls.references).tolist()


def _places(labels: Sequence[Label]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([label.x for label in labels]), np.array([label.y for label in labels])


def obstacles_of(ax: Axes, curve: Curve, chosen: int | None) -> list[Box]:
    """Return what text should not cover: markers, seeds, error bars, the lines of series and of the tolerance."""
    x, y = curve.costs, curve.values
    boxes = marker_boxes(ax, x, y, size=8)
    if chosen is not None:
        boxes += marker_boxes(ax, x[[chosen]], y[[chosen]], size=15)
    for row in range(len(curve)):
        wide, tall = np.nan_to_num([curve.deviations[name].iloc[row] for name in (curve.cost, curve.quality_column)])
        if wide or tall:
            boxes += line_boxes(ax, x[row].repeat(2), np.array([max(y[row] - tall, ax.get_ylim()[0]), y[row] + tall]))
            boxes += line_boxes(ax, np.array([max(x[row] - wide, ax.get_xlim()[0]), x[row] + wide]), y[row].repeat(2))
    for dots in (artist for artist in ax.collections if artist.get_gid() == "seeds"):
        boxes += marker_boxes(ax, *np.asarray(dots.get_offsets(), dtype=np.float64).T, size=3)
    for line in ax.lines:
        if line.get_gid() in ("front", "interval"):
            boxes += line_boxes(ax, *np.asarray(line.get_xydata(), dtype=np.float64).T)
        elif line.get_gid() == "tolerance":
            boxes += line_boxes(ax, np.asarray(ax.get_xlim()), np.asarray(line.get_ydata(), dtype=np.float64))
    return boxes


def write_title(ax: Axes, text: str, /) -> int:
    """Write why there is no saturation point above the axes, as wide as these. Returns its number of lines."""
    width, size = ax.get_window_extent().width, font_size(ax) + 0.5
    lines = wrapped(ax, text, width, fontsize=size)
    if len(lines) > _MOST_TITLE_LINES:
        lines = [*lines[: _MOST_TITLE_LINES - 1], f"{lines[_MOST_TITLE_LINES - 1][:-3].rstrip()} …"]
    ax.set_title("\n".join(lines), loc="left", fontsize=size, color=DARK_RED, parse_math=False)
    return len(lines)


def wrapped(ax: Axes, text: str, width: float, /, *, fontsize: float, fontweight: str = "normal") -> list[str]:
    """Return a text in lines of at most a width (pixels); words that are longer are broken."""
    points = pixels_per_point(ax)
    n_characters = max(int(width / (0.5 * fontsize * points)), 8)
    while n_characters > 8:
        lines = textwrap.wrap(text, n_characters)
        if max(text_size(ax, line, fontsize=fontsize, fontweight=fontweight)[0] for line in lines) <= width:
            return lines
        n_characters -= 2
    return textwrap.wrap(text, n_characters)


def _told_by_legend(curve: Curve) -> dict[int, list[str]]:
    """Return what the legend says of points by their series, as in ["alpha=0.5"], by their rows."""
    return {int(row): series.name.split(", ") for series in series_of(curve) if series.name for row in series.rows}


def _name(curve: Curve, row: int, told: Sequence[str] = ()) -> str:
    """Name a point, without what is told of it elsewhere; a reference, and what would have no name left, whole."""
    is_marked = curve.base == "reference" and row in curve.references
    text = "reference" if is_marked and not curve.has_several_references else named(curve, row)
    return shown_name(
        (text if row in curve.references else without_parts(text, told) or text).replace(" asked, ", " asked,\n")
    )


def _chosen_text(curve: Curve, row: int, saturation: Saturation) -> str:
    """Name the saturation point, and say under it what it saves and what it costs, on test as well."""
    if row in curve.references or not curve.ratios[row] > 0:
        return _name(curve, row)
    saved = f"{share(float(curve.ratios[row]))} {cost_words(curve.cost).share}"
    difference = f"{_rise(curve, float(curve.losses[row]))} {difference_unit(curve)}".rstrip()
    lines = [_name(curve, row), f"{textwrap.fill(saved, 24)},", difference]
    if saturation.test_loss is not None:
        interval = saturation.test_loss_interval
        about = "" if interval is None else f" ± {amount(curve, scale(curve) * (interval[1] - interval[0]) / 2)}"
        lines.append(f"test: {_rise(curve, saturation.test_loss)}{about}")
    return "\n".join(lines)


def _rise(curve: Curve, loss: float) -> str:
    """Write by how much a value changes: "−0.8"."""
    rise = -curve.sign * scale(curve) * loss
    return f"{'−' if rise < 0 else '+'}{amount(curve, abs(rise))}"
