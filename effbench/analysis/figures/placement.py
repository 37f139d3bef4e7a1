"""Where text goes in a figure so that it covers neither data nor other text. Everything here is in pixels."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

Box = tuple[float, float, float, float]
"""left, bottom, right, top."""

_DIRECTIONS = ((1, -1), (1, 1), (-1, 1), (-1, -1), (1, 0), (0, -1), (0, 1), (-1, 0))
_NEAR = 6.0  # points: farther text may need a line to its point
_GAPS_IN_POINTS = (_NEAR, 10.0, 16.0, 28.0, 42.0)
_GRID = 25
"""Places that are tried in each direction for what must be there, when none is free around its point."""
_PADDING = 1.5  # points that text stays away from other text
_LEADER = {"arrowstyle": "-", "color": "0.45", "linewidth": 0.7, "shrinkA": 1, "shrinkB": 4}


@dataclass(frozen=True, kw_only=True)
class Label:
    """A text for a point, in data coordinates. An optional one is left out where it finds no free place."""

    text: str
    x: float
    y: float
    optional: bool = False
    near: bool = False
    """Whether it is left out where it has no place beside its point, as of many points."""
    clearance: float = 0.0
    """Points to stay away from the anchor, for large markers."""
    bold: bool = False


def place_labels(
    ax: Axes,
    labels: Iterable[Label],
    /,
    *,
    obstacles: Sequence[Box],
    fontsize: float,
    anchors: Sequence[tuple[float, float]] = (),
) -> list[Annotation]:
    """Annotate points, the first labels first, each at the nearest place that is free.

    obstacles: what no text may cover. anchors: the points of the figure, in data coordinates: text that is not beside
    its own, or is nearer to another one, gets a thin line to its point. Axis limits must be final. Returns the
    annotations that found their place.
    """
    taken, texts = list(obstacles), list[Box]()
    points = pixels_per_point(ax)
    others = ax.transData.transform(np.asarray(anchors, dtype=np.float64).reshape(-1, 2))
    placed = []
    for label in labels:
        style: dict[str, Any] = {"fontsize": fontsize, "fontweight": "bold" if label.bold else "normal", "zorder": 6}
        anchor = ax.transData.transform((label.x, label.y))
        rivals = others[np.hypot(*(others - anchor).T) > 1] if label.optional else others[:0]
        box, gap, amount = _best_place(ax, label, text_size(ax, label.text, **style), taken, texts, rivals)
        if label.optional and amount > 0:
            continue
        has_leader = gap > _NEAR and (gap > 2 * _NEAR or _is_nearer_to_others(box, anchor, others))
        placed.append(
            ax.annotate(
                label.text,
                (label.x, label.y),
                xytext=((box[0] - anchor[0]) / points, (box[1] - anchor[1]) / points),
                textcoords="offset points",
                verticalalignment="bottom",
                arrowprops=_LEADER if has_leader else None,
                parse_math=False,
                **style,
            )
        )
        pad = _PADDING * points
        texts.append((box[0] - pad, box[1] - pad, box[2] + pad, box[3] + pad))
        taken.append(texts[-1])
        if has_leader:
            taken += _boxes_along(_leader(box, anchor), 3 * points)
    return placed


def marker_boxes(ax: Axes, x: NDArray[np.float64], y: NDArray[np.float64], /, *, size: float) -> list[Box]:
    """Return the boxes of markers of `size` points at data coordinates (n,)."""
    half = size * pixels_per_point(ax) / 2
    return [(a - half, b - half, a + half, b + half) for a, b in ax.transData.transform(np.column_stack([x, y]))]


def line_boxes(ax: Axes, x: NDArray[np.float64], y: NDArray[np.float64], /) -> list[Box]:
    """Return small boxes along a polyline through data coordinates (n,), close enough that no text slips between."""
    return _boxes_along(ax.transData.transform(np.column_stack([x, y])), 3 * pixels_per_point(ax))


def _boxes_along(corners: NDArray[np.float64], step: float) -> list[Box]:
    boxes: list[Box] = []
    for start, end in itertools.pairwise(corners):
        for a, b in np.linspace(start, end, 2 + int(np.hypot(*(end - start)) / step)):
            boxes.append((a - 1, b - 1, a + 1, b + 1))
    return boxes


def text_size(ax: Axes, text: str, /, **style: Any) -> tuple[float, float]:
    """Width and height of a text, found by setting it for a moment."""
    trial = ax.text(0, 0, text, transform=ax.transAxes, parse_math=False, **style)
    extent = trial.get_window_extent()
    trial.remove()
    return extent.width, extent.height


def _best_place(
    ax: Axes,
    label: Label,
    size: tuple[float, float],
    taken: Sequence[Box],
    texts: Sequence[Box],
    others: NDArray[np.float64],
) -> tuple[Box, float, float]:
    """Return the nearest box for a text that covers nothing, else least; its gap (points) and what it covers (area).

    A line to its point may not cross the other texts. others: points (n, 2) whose name it might be taken for: away from
    its own point it does not stand where one of them is half as far.
    """
    extent = ax.get_window_extent()
    frame = (extent.x0, extent.y0, extent.x1, extent.y1)
    x, y = ax.transData.transform((label.x, label.y))
    best: tuple[Box, float, float] = ((x, y, x + size[0], y + size[1]), 0.0, np.inf)
    for box, gap in _places(label, (x, y), size, frame, pixels_per_point(ax)):
        own = _distances(box, np.array([[x, y]]))[0]
        if gap > _NEAR and len(others) and _distances(box, others).min() < own / 2:
            continue
        amount = covered(box, taken) + 10 * _outside(box, frame)
        if amount < best[2] and gap > _NEAR and texts:
            amount += sum(covered(part, texts) for part in _boxes_along(_leader(box, (x, y)), 3 * pixels_per_point(ax)))
        if amount < best[2]:
            best = (box, gap, amount)
        if amount == 0:
            break
    return best


def _places(
    label: Label, anchor: tuple[float, float], size: tuple[float, float], frame: Box, points: float
) -> Iterator[tuple[Box, float]]:
    """Yield where a text may stand, the nearest first, and how far from its anchor that is (points)."""
    (x, y), (width, height) = anchor, size
    for gap, (toward_x, toward_y) in itertools.product(_GAPS_IN_POINTS[: 2 if label.near else None], _DIRECTIONS):
        reach = (gap + label.clearance) * points / (np.sqrt(2) if toward_x and toward_y else 1)
        yield _box_around(x + toward_x * (reach + width / 2), y + toward_y * (reach + height / 2), width, height), gap
    if label.near:
        return
    lefts = np.linspace(frame[0], frame[2] - width, _GRID)
    bottoms = np.linspace(frame[1], frame[3] - height, _GRID)
    middles = [(left + width / 2, bottom + height / 2) for left in lefts for bottom in bottoms]
    for a, b in sorted(middles, key=lambda middle: (middle[0] - x) ** 2 + (middle[1] - y) ** 2):
        yield _box_around(a, b, width, height), float(np.hypot(a - x, b - y)) / points


def _is_nearer_to_others(box: Box, anchor: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    """Whether a text is not clearly its own point's: another one is about as near."""
    if len(others) == 0:
        return True
    own, distances = _distances(box, anchor[None])[0], _distances(box, others)
    return bool((distances[np.hypot(*(others - anchor).T) > 1] < 1.5 * own).any())


def _leader(box: Box, anchor: NDArray[np.float64] | tuple[float, float]) -> NDArray[np.float64]:
    """Return the ends of the line from the middle of a text to its point, (2, 2)."""
    return np.array([[(box[0] + box[2]) / 2, (box[1] + box[3]) / 2], anchor])


def _distances(box: Box, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far points (n, 2) are from a box."""
    away = points - np.clip(points, (box[0], box[1]), (box[2], box[3]))
    return np.asarray(np.hypot(away[:, 0], away[:, 1]), dtype=np.float64)


def _box_around(x: float, y: float, width: float, height: float) -> Box:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def covered(box: Box, obstacles: Sequence[Box], /) -> float:
    """Return the area that a box shares with obstacles."""
    if not len(obstacles):
        return 0.0
    left, bottom, right, top = np.asarray(obstacles, dtype=np.float64).T
    width = np.minimum(right, box[2]) - np.maximum(left, box[0])
    height = np.minimum(top, box[3]) - np.maximum(bottom, box[1])
    return float((width.clip(min=0) * height.clip(min=0)).sum())


def _outside(box: Box, frame: Box) -> float:
    """Area of a box that is not in the frame."""
    return (box[2] - box[0]) * (box[3] - box[1]) - covered(box, [frame])


def pixels_per_point(ax: Axes, /) -> float:
    """Return how many pixels a point is in the figure of axes."""
    figure = ax.get_figure(root=True)
    assert figure is not None, "axes are drawn in a figure"
    return float(figure.dpi / 72)
