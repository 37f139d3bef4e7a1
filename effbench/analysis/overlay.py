"""Several sweeps in one figure: where compression stops being free for each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from effbench.analysis.captions import FONT_SIZE
from effbench.analysis.costs import chosen_cost, costs_that_vary
from effbench.analysis.curve import Curve, curve_of
from effbench.analysis.figure_axes import write_axes
from effbench.analysis.groups import select_group
from effbench.analysis.labels import axes_are_numeric
from effbench.analysis.pareto import front_rows
from effbench.analysis.placement import Box, Label, line_boxes, marker_boxes, place_labels, place_legend
from effbench.analysis.saturation import saturation_point
from effbench.analysis.words import named

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette without its yellow, told apart with every kind of colour vision; shapes differ as well.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_SHAPES = ("o", "s", "^", "v", "P", "X", "p")
_GREY = "#8C8C8C"


def plot_several(
    sweeps: Sequence[Any],
    labels: Sequence[str] | None,
    make_axes: Callable[[], Axes],
    /,
    *,
    cost: str | None,
    quality: str | None,
    method: str,
    legend: bool,
    model: str | None,
    **options: Any,
) -> Axes:
    """Draw sweeps over each other: see `plot_saturation`, whose options and errors these are."""
    frames = [_runs(sweep) for sweep in sweeps]
    if not frames or (labels is not None and len(labels) != len(frames)):
        n_labels = 0 if labels is None else len(labels)
        raise ValueError(f"{len(frames)} frames and {n_labels} labels: give at least one frame, and a label for each")
    names = [f"sweep {number}" for number in range(1, len(frames) + 1)] if labels is None else list(map(str, labels))
    groups = [select_group(frame, model=model) for frame in frames]
    cost = _common_cost(groups) if cost is None else cost
    curves = [curve_of(group, cost=chosen_cost(group, cost), quality=quality) for group in groups]
    _check(curves, names)
    ax = make_axes()  # not before all is found to fit: what is left of a figure would be shown
    chosen: list[Label] = []
    for number, (curve, group, name) in enumerate(zip(curves, groups, names, strict=True)):
        point = saturation_point(group, cost=cost, quality=quality, method=method, **options).point
        row = None if point is None else int(str(point.name))
        _draw(ax, curve, row, number, name)
        if row is not None:
            x, y = float(curve.costs[row]), float(curve.values[row])
            chosen.append(Label(text=f"{name}: {named(curve, row)}", x=x, y=y, bold=True, clearance=5.0))
    write_axes(ax, curves)
    _add_meanings(ax, has_points=bool(chosen))
    if ax.get_figure(root=True) is not None:
        ax.get_figure(root=True).draw_without_rendering()  # type: ignore[union-attr]  # final before text is placed
    obstacles = [box for curve in curves for box in _boxes(ax, curve)]
    if legend:
        obstacles.append(place_legend(ax, obstacles=obstacles, fontsize=FONT_SIZE)[1])
    place_labels(ax, chosen, obstacles=obstacles, fontsize=FONT_SIZE)
    return ax


def _runs(sweep: Any) -> pd.DataFrame:
    """Return the frame of a sweep: itself, or the runs of a result."""
    runs = sweep if isinstance(sweep, pd.DataFrame) else getattr(sweep, "runs", None)
    if not isinstance(runs, pd.DataFrame):
        raise ValueError(f"{type(sweep).__name__}: must be a frame of runs, or the result of run_sweep")
    return runs


def _common_cost(groups: Sequence[pd.DataFrame]) -> str:
    """Return the first cost that varies in all groups. ValueError where there is none."""
    varying = [costs_that_vary(group) for group in groups]
    common = [cost for cost in varying[0] if all(cost in others for others in varying)]
    if not common:
        raise ValueError("no cost varies in all of the sweeps; give cost=, as in cost='size_bytes'")
    return common[0]


def _check(curves: Sequence[Curve], names: Sequence[str]) -> None:
    for curve, name in zip(curves, names, strict=True):
        if len(curve) == 0:
            raise ValueError(f"{name}: the frame has no rows: there is nothing to draw")
    columns = dict.fromkeys(curve.quality_column for curve in curves)
    if len(columns) > 1:
        raise ValueError(f"the sweeps have several qualities ({', '.join(columns)}): draw those of one")


def _draw(ax: Axes, curve: Curve, chosen: int | None, number: int, name: str) -> None:
    colour, shape = _COLOURS[number % len(_COLOURS)], _SHAPES[number % len(_SHAPES)]
    x, y, front = curve.costs, curve.values, front_rows(curve)
    joined = axes_are_numeric(curve.points, curve.labels)
    line = {"linewidth": 1.3} if joined else {"linestyle": "none"}
    ax.plot(x[front], y[front], color=colour, marker=shape, markersize=5, zorder=3, label=name, gid="front", **line)
    others = np.setdiff1d(np.arange(len(curve)), [*front, *curve.references])
    ax.scatter(
        x[others], y[others], s=20, marker=shape, facecolors="white", edgecolors=colour, zorder=2.8, gid="points"
    )
    references = np.unique(curve.references)
    ax.scatter(x[references], y[references], s=48, marker="D", color=colour, zorder=4, gid="reference")
    if chosen is not None:
        ax.scatter(
            x[[chosen]], y[[chosen]], s=170, facecolors="none", edgecolors=colour, linewidths=2.0, zorder=5,
            gid="saturation",
        )  # fmt: skip


def _add_meanings(ax: Axes, *, has_points: bool) -> None:
    """Have the legend say what the shapes mean that all sweeps share."""
    ax.scatter([], [], s=48, marker="D", color=_GREY, label="its reference")
    if has_points:
        ax.scatter([], [], s=110, facecolors="none", edgecolors=_GREY, linewidths=2.0, label="its saturation point")


def _boxes(ax: Axes, curve: Curve) -> list[Box]:
    """Return what text should not cover."""
    front = front_rows(curve)
    boxes = marker_boxes(ax, curve.costs, curve.values, size=7)
    return boxes + line_boxes(ax, curve.costs[front], curve.values[front])
