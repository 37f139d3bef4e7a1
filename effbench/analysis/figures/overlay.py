"""Several sweeps in one figure: where compression stops being free for each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from effbench.analysis.curves.costs import chosen_cost, costs_that_vary
from effbench.analysis.curves.curve import Curve, curve_of
from effbench.analysis.curves.groups import select_group
from effbench.analysis.curves.pareto import front_rows
from effbench.analysis.curves.series import series_of
from effbench.analysis.curves.words import named
from effbench.analysis.figures.captions import font_size, obstacles_of
from effbench.analysis.figures.figure_axes import thin_ticks, write_axes
from effbench.analysis.figures.legend import Entry, place_legend
from effbench.analysis.figures.marks import GREY, draw_chosen, style_of
from effbench.analysis.figures.names import shown_name
from effbench.analysis.figures.placement import Box, Label, place_labels
from effbench.analysis.saturation import saturation_point

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    entries: list[Entry] = []
    for number, (curve, group, name) in enumerate(zip(curves, groups, names, strict=True)):
        row = saturation_point(group, cost=cost, quality=quality, method=method, **options).row
        entries.append(_draw(ax, curve, row, number, name))
        if row is not None:
            x, y = float(curve.costs[row]), float(curve.values[row])
            chosen.append(
                Label(text=f"{shown_name(name)}: {shown_name(named(curve, row))}", x=x, y=y, bold=True, clearance=5.0)
            )
    write_axes(ax, curves)
    if ax.get_figure(root=True) is not None:
        ax.get_figure(root=True).draw_without_rendering()  # type: ignore[union-attr]  # final before text is placed
    ax.autoscale_view()
    ax.set(xlim=ax.get_xlim(), ylim=ax.get_ylim())  # what is drawn from here on moves nothing

    def obstacles() -> list[Box]:
        return [box for curve in curves for box in obstacles_of(ax, curve, None)]

    taken = []
    if legend:
        entries += _meanings(has_points=bool(chosen))
        taken.append(place_legend(ax, entries, obstacles=obstacles, fontsize=font_size(ax)))
    thin_ticks(ax)
    anchors = [pair for curve in curves for pair in zip(curve.costs.tolist(), curve.values.tolist(), strict=True)]
    place_labels(ax, chosen, obstacles=[*obstacles(), *taken], fontsize=font_size(ax), anchors=anchors)
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


def _draw(ax: Axes, curve: Curve, chosen: int | None, number: int, name: str) -> Entry:
    """Draw a sweep in a colour of its own, each of its series as a line. Returns what the legend says."""
    from matplotlib.lines import Line2D

    style = style_of(number)
    x, y, front = curve.costs, curve.values, front_rows(curve)
    series = series_of(curve)
    for one in series:
        if one.is_joined:
            ax.plot(
                x[one.rows], y[one.rows], color=style.colour, marker=style.shape, markersize=0, linewidth=1.3,
                zorder=2.5, gid="front",
            )  # fmt: skip
    for rows, face in ((front, style.colour), (np.setdiff1d(np.arange(len(curve)), front), "white")):
        shown = np.setdiff1d(rows, curve.references)
        ax.scatter(
            x[shown], y[shown], s=26, marker=style.shape, facecolors=face, edgecolors=style.colour, zorder=3,
            gid="points",
        )  # fmt: skip
    references = np.unique(curve.references)
    ax.scatter(x[references], y[references], s=48, marker="D", color=style.colour, zorder=4, gid="reference")
    if chosen is not None:
        draw_chosen(ax, curve, chosen, None, colour=style.colour)
    line: dict[str, Any] = {"linewidth": 1.3} if any(one.is_joined for one in series) else {"linestyle": "none"}
    return Entry(Line2D([], [], color=style.colour, marker=style.shape, markersize=5, **line), name)


def _meanings(*, has_points: bool) -> list[Entry]:
    """Return what the legend says of the shapes that all sweeps share."""
    from matplotlib.lines import Line2D

    shape: dict[str, Any] = {"color": GREY, "linestyle": "none"}
    entries = [Entry(Line2D([], [], marker="D", markersize=6.5, **shape), "its reference")]
    if has_points:
        ring = Line2D([], [], marker="o", markersize=11, markerfacecolor="none", markeredgewidth=2.0, **shape)
        entries.append(Entry(ring, "its saturation point"))
    return entries
