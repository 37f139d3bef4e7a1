"""The figure of two axes: what each pair of their values loses against the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from effbench.analysis.curves.costs import chosen_cost
from effbench.analysis.curves.curve import Curve
from effbench.analysis.curves.groups import select_group
from effbench.analysis.curves.words import allowance, amount, difference_unit, named, quality_title, scale
from effbench.analysis.definitions.tolerance import DEFAULT_TOLERANCE
from effbench.analysis.figures.captions import FONT_SIZE, wrapped
from effbench.analysis.figures.heat_colours import MAP, colour_at, darkest_loss, text_on
from effbench.analysis.figures.marks import VERMILION
from effbench.analysis.figures.names import shown_name
from effbench.analysis.figures.placement import text_size
from effbench.analysis.loss_grid import LossGrid, loss_grid
from effbench.analysis.saturation import answer_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SMALLEST_FONT = 5.5
_LONGEST = 18


def plot_heatmap(
    frame: pd.DataFrame,
    *,
    axes: Sequence[str] | None = None,
    cost: str | None = None,
    quality: str | None = None,
    tolerance: float = DEFAULT_TOLERANCE,
    model: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw what is lost against the reference at each pair of values of two axes; darker is more.

    Cells within the tolerance are outlined, the saturation point on the cost (by the definition `tolerance`) is framed;
    a dash stands where no run of that pair has finished. Seeds are averaged. Values go from what compresses least, at
    the upper left, to what compresses most. Other axes stand at the reference's value, or else the least compressing
    one, which is said. Numbers stand in cells where all have room. Losses of more than five tolerances have one colour.

    frame, cost, quality, model: as for `plot_saturation`, of one group. axes: what goes across and what goes down; None
    takes the two of most values. ax: where to draw; None makes a pyplot figure, which is the caller's to close. Returns
    the axes, whose artists have the gids cells, within and saturation. ValueError as for `saturation_point`, and where
    there are no two axes.

    >>> from matplotlib.figure import Figure
    >>> runs = pd.DataFrame({"point": ["reference", "prune=0.5", "bits=8", "prune=0.5, bits=8"],
    ...                      "size_bytes": [400, 200, 100, 50], "accuracy_val": [0.96, 0.95, 0.96, 0.91]})
    >>> ax = plot_heatmap(runs, ax=Figure().add_subplot())
    >>> [text.get_text() for text in ax.texts]
    ['0.0', '1.0', '0.0', '5.0']
    """
    runs = select_group(frame, model=model)
    found = answer_of(runs, cost=chosen_cost(runs, cost), quality=quality, tolerance=tolerance)
    if found.curve.base == "missing":
        raise ValueError("the references that the runs are to be compared with are not among them")
    grid = loss_grid(found.curve, axes)
    ax = _new_axes(grid) if ax is None else ax
    _draw_cells(ax, grid, found.curve, tolerance)
    _write_axes(ax, grid)
    _write_title(ax, grid_note(grid, found.curve, tolerance, found.saturation.row))
    ax.figure.draw_without_rendering()  # type: ignore[union-attr]  # the layout decides how wide cells are
    _turn_names(ax, grid)
    _write_losses(ax, grid, found.curve, tolerance)
    for y, x in np.argwhere(grid.rows == found.saturation.row).tolist() if found.saturation.row is not None else ():
        _frame(ax, x, y)
    return ax


def _new_axes(grid: LossGrid) -> Axes:
    import matplotlib.pyplot as plt

    n_down, n_across = grid.losses.shape
    size = (2.2 + 0.52 * max(min(n_across, 16), 5), 1.4 + 0.34 * max(min(n_down, 24), 4))
    _, ax = plt.subplots(figsize=size, layout="constrained")
    return ax


def _draw_cells(ax: Axes, grid: LossGrid, curve: Curve, tolerance: float) -> None:
    from matplotlib.collections import LineCollection

    n_down, n_across = grid.losses.shape
    darkest, factor = darkest_loss(grid.losses, tolerance), scale(curve)
    losses = np.ma.masked_invalid(factor * np.maximum(grid.losses, 0))
    cells = ax.pcolormesh(
        np.arange(n_across + 1), np.arange(n_down + 1), losses, cmap=MAP, vmin=0, vmax=factor * darkest,
        edgecolors="white", linewidth=0.6, gid="cells",
    )  # fmt: skip
    ax.set(xlim=(0, n_across), ylim=(n_down, 0))
    lines = LineCollection(grid.edges(tolerance), colors="black", linewidths=1.8, capstyle="round", gid="within")
    lines.set_clip_on(False)
    ax.add_collection(lines, autolim=False)
    is_cut = bool(np.nanmax(grid.losses) > darkest)
    bar = ax.figure.colorbar(cells, ax=ax, extend="max" if is_cut else "neither", pad=0.03)
    unit = difference_unit(curve)
    bar.set_label(
        f"{quality_title(curve).partition(' (')[0]} lost" + (f" ({unit})" if unit else ""), fontsize=FONT_SIZE
    )
    bar.ax.tick_params(labelsize=FONT_SIZE - 1)


def _write_axes(ax: Axes, grid: LossGrid) -> None:
    ax.set_xticks(np.arange(len(grid.across)) + 0.5, [shown_name(name, longest=_LONGEST) for name in grid.across])
    ax.set_yticks(np.arange(len(grid.down)) + 0.5, [shown_name(name, longest=_LONGEST) for name in grid.down])
    for label in (*ax.get_xticklabels(), *ax.get_yticklabels()):
        label.set(parse_math=False, fontsize=FONT_SIZE)
    for axis, name in zip((ax.xaxis, ax.yaxis), grid.axes, strict=True):
        axis.set_label_text(shown_name(name), fontsize=FONT_SIZE + 1, parse_math=False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def _write_title(ax: Axes, text: str) -> None:
    width = max(ax.get_window_extent().width, 120.0)
    ax.set_title(
        "\n".join(wrapped(ax, text, width, fontsize=FONT_SIZE)), loc="left", fontsize=FONT_SIZE, parse_math=False
    )


def grid_note(grid: LossGrid, curve: Curve, tolerance: float, chosen: int | None, /) -> str:
    """Return what is to be known of a heat map: what its lines mean, and where the other axes stand."""
    held = ", ".join(f"{shown_name(name)}={shown_name(value)}" for name, value in grid.held.items())
    parts = [f"outlined: within {allowance(curve, tolerance)}"]
    if chosen is not None:
        is_here = bool((grid.rows == chosen).any())
        name = shown_name(named(curve, chosen))
        parts.append("framed: the saturation point" if is_here else f"the saturation point, {name}, is not among these")
    return "; ".join([*parts, *([f"at {held}"] if held else [])])


def _turn_names(ax: Axes, grid: LossGrid) -> None:
    """Write the names below columns upright where they have no room beside each other; leave some out below that."""
    cell = ax.get_window_extent().width / len(grid.across)
    names = [label.get_text() for label in ax.get_xticklabels()]
    widest, tall = (max(text_size(ax, name, fontsize=FONT_SIZE)[side] for name in names) for side in (0, 1))
    if widest > 0.92 * cell:
        ax.tick_params(axis="x", labelrotation=90)
    for ticks, room in ((ax.get_xticklabels(), cell), (ax.get_yticklabels(), _row_height(ax, grid))):
        if ticks is not None and tall > room:
            every = int(-(-tall // room))
            for number, label in enumerate(ticks):
                label.set_visible(number % every == 0)


def _row_height(ax: Axes, grid: LossGrid) -> float:
    return float(ax.get_window_extent().height / len(grid.down))


def _write_losses(ax: Axes, grid: LossGrid, curve: Curve, tolerance: float) -> None:
    """Write losses into cells, as large as all have room for; a dash where there is none."""
    texts = {(y, x): cell_text(curve, grid, y, x) for y, x in np.ndindex(*grid.losses.shape)}
    width, height = ax.get_window_extent().width / len(grid.across), _row_height(ax, grid)
    for size in np.arange(FONT_SIZE, _SMALLEST_FONT - 0.1, -0.5).tolist():
        boxes = [text_size(ax, text, fontsize=size) for text in dict.fromkeys(texts.values())]
        if max(w for w, _ in boxes) <= 0.9 * width and max(h for _, h in boxes) <= 0.95 * height:
            break
    else:
        texts, size = {place: text for place, text in texts.items() if grid.rows[place] < 0}, _SMALLEST_FONT
    darkest = darkest_loss(grid.losses, tolerance)
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": size}
    for (y, x), text in texts.items():
        is_known = grid.rows[y, x] >= 0
        colour = text_on(colour_at(float(grid.losses[y, x]) / darkest)) if is_known else "0.4"
        ax.text(x + 0.5, y + 0.5, text, color=colour, **style)


def cell_text(curve: Curve, grid: LossGrid, down: int, across: int, /) -> str:
    """Write what a cell loses, in points where the quality is a fraction; a dash where no run has finished."""
    if grid.rows[down, across] < 0:
        return "–"
    loss = scale(curve) * float(grid.losses[down, across])
    text = amount(curve, abs(loss))
    return f"−{text}" if loss < 0 and float(text) > 0 else text


def _frame(ax: Axes, x: int, y: int) -> None:
    from matplotlib.patches import Rectangle

    frame = Rectangle(
        (x + 0.06, y + 0.08), 0.88, 0.84, fill=False, edgecolor=VERMILION, linewidth=2.2, zorder=4, gid="saturation"
    )
    ax.add_patch(frame)
