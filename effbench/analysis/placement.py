"""Where text goes in a figure so that it covers neither data nor other text. Everything here is in pixels."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend
    from matplotlib.text import Annotation

Box = tuple[float, float, float, float]
"""left, bottom, right, top."""

Corner = Literal["lower right", "lower left", "upper left", "upper right"]

_DIRECTIONS = ((1, -1), (1, 1), (-1, 1), (-1, -1), (1, 0), (0, -1), (0, 1), (-1, 0))
_NEAR = 6.0  # points: farther text gets a line to its point
_GAPS_IN_POINTS = (_NEAR, 16.0, 28.0, 42.0)
_LEADER = {"arrowstyle": "-", "color": "0.5", "linewidth": 0.6, "shrinkA": 1, "shrinkB": 4}
_CORNERS: dict[Corner, tuple[int, int]] = {
    "lower right": (1, 0),
    "lower left": (0, 0),
    "upper left": (0, 1),
    "upper right": (1, 1),
}


@dataclass(frozen=True, kw_only=True)
class Label:
    """A text for a point, in data coordinates. An optional one is left out where it finds no free place."""

    text: str
    x: float
    y: float
    optional: bool = False
    clearance: float = 0.0
    """Points to stay away from the anchor, for large markers."""
    bold: bool = False


def place_labels(
    ax: Axes, labels: Iterable[Label], /, *, obstacles: Sequence[Box], fontsize: float
) -> list[Annotation]:
    """Annotate points, the first labels first, each at the nearest place that is free, with a thin leader when far.

    obstacles: what no text may cover. Axis limits must be final. Returns the annotations that found their place.
    """
    taken = list(obstacles)
    points = _pixels_per_point(ax)
    placed = []
    for label in labels:
        style: dict[str, Any] = {"fontsize": fontsize, "fontweight": "bold" if label.bold else "normal", "zorder": 6}
        box, gap, covered = _best_place(ax, label, _text_size(ax, label.text, style), taken)
        if label.optional and covered > 0:
            continue
        anchor = ax.transData.transform((label.x, label.y))
        placed.append(
            ax.annotate(
                label.text,
                (label.x, label.y),
                xytext=((box[0] - anchor[0]) / points, (box[1] - anchor[1]) / points),
                textcoords="offset points",
                verticalalignment="bottom",
                arrowprops=_LEADER if gap > _NEAR else None,
                **style,
            )
        )
        taken.append(box)
    return placed


def place_legend(ax: Axes, /, *, obstacles: Sequence[Box], fontsize: float) -> tuple[Legend, Box]:
    """Put the legend into the emptiest corner. Returns it and its box."""
    legend = ax.legend(
        fontsize=fontsize, loc="lower right", markerscale=0.75, frameon=True, framealpha=0.9, edgecolor="0.85"
    )
    extent = legend.get_window_extent()
    frame, pad = ax.get_window_extent(), 0.5 * fontsize * _pixels_per_point(ax)

    def box_at(corner: Corner) -> Box:
        right, top = _CORNERS[corner]
        left = frame.x1 - pad - extent.width if right else frame.x0 + pad
        bottom = frame.y1 - pad - extent.height if top else frame.y0 + pad
        return left, bottom, left + extent.width, bottom + extent.height

    best = min(_CORNERS, key=lambda corner: _covered(box_at(corner), obstacles))
    legend.set_loc(best)
    return legend, box_at(best)


def marker_boxes(ax: Axes, x: NDArray[np.float64], y: NDArray[np.float64], /, *, size: float) -> list[Box]:
    """Return the boxes of markers of `size` points at data coordinates (n,)."""
    half = size * _pixels_per_point(ax) / 2
    return [(a - half, b - half, a + half, b + half) for a, b in ax.transData.transform(np.column_stack([x, y]))]


def line_boxes(ax: Axes, x: NDArray[np.float64], y: NDArray[np.float64], /) -> list[Box]:
    """Return small boxes along a polyline through data coordinates (n,), close enough that no text slips between."""
    corners = ax.transData.transform(np.column_stack([x, y]))
    step = 3 * _pixels_per_point(ax)
    boxes: list[Box] = []
    for start, end in itertools.pairwise(corners):
        for a, b in np.linspace(start, end, 2 + int(np.hypot(*(end - start)) / step)):
            boxes.append((a - 1, b - 1, a + 1, b + 1))
    return boxes


def _text_size(ax: Axes, text: str, style: dict[str, Any]) -> tuple[float, float]:
    """Width and height of a text, found by setting it for a moment."""
    trial = ax.text(0, 0, text, transform=ax.transAxes, **style)
    extent = trial.get_window_extent()
    trial.remove()
    return extent.width, extent.height


def _best_place(ax: Axes, label: Label, size: tuple[float, float], taken: Sequence[Box]) -> tuple[Box, float, float]:
    """Return the nearest box for a text that covers nothing, else least; its gap (points) and what it covers (area)."""
    points = _pixels_per_point(ax)
    frame = ax.get_window_extent()
    x, y = ax.transData.transform((label.x, label.y))
    width, height = size
    best: tuple[Box, float, float] = ((x, y, x + width, y + height), 0.0, np.inf)
    gaps = (_NEAR,) if label.optional else _GAPS_IN_POINTS
    for gap, (toward_x, toward_y) in itertools.product(gaps, _DIRECTIONS):
        reach = (gap + label.clearance) * points / (np.sqrt(2) if toward_x and toward_y else 1)
        box = _box_around(x + toward_x * (reach + width / 2), y + toward_y * (reach + height / 2), width, height)
        covered = _covered(box, taken) + 10 * _outside(box, (frame.x0, frame.y0, frame.x1, frame.y1))
        if covered < best[2]:
            best = (box, gap, covered)
        if covered == 0:
            break
    return best


def _box_around(x: float, y: float, width: float, height: float) -> Box:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _covered(box: Box, obstacles: Sequence[Box]) -> float:
    """Area that a box shares with obstacles."""
    if not obstacles:
        return 0.0
    left, bottom, right, top = np.asarray(obstacles, dtype=np.float64).T
    width = np.minimum(right, box[2]) - np.maximum(left, box[0])
    height = np.minimum(top, box[3]) - np.maximum(bottom, box[1])
    return float((width.clip(min=0) * height.clip(min=0)).sum())


def _outside(box: Box, frame: Box) -> float:
    """Area of a box that is not in the frame."""
    return (box[2] - box[0]) * (box[3] - box[1]) - _covered(box, [frame])


def _pixels_per_point(ax: Axes) -> float:
    figure = ax.get_figure(root=True)
    assert figure is not None, "axes are drawn in a figure"
    return figure.dpi / 72
