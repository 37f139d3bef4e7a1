"""The report's picture of two axes: what each pair of their values loses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from effbench.analysis.answers import Answer
from effbench.analysis.curves.costs import cost_words
from effbench.analysis.curves.curve import Curve
from effbench.analysis.curves.words import amount, difference_unit, quality_title, scale
from effbench.analysis.figures.heat_colours import darkest_loss
from effbench.analysis.figures.heatmap import cell_text, grid_note
from effbench.analysis.loss_grid import LossGrid, has_grid, loss_grid
from effbench.analysis.report.cells import Cells, Content
from effbench.analysis.report.marks import keys_of, said_of
from effbench.analysis.report.panel import PageOf


def heat_maps(found: Sequence[Answer], /, *, tolerance: float, page_of: PageOf) -> list[Cells]:
    """Return a heat map for each group that has points with two axes moved; framed is what its first cost chose."""
    maps, groups = [], set()
    for answer in found:
        if answer.found is None or answer.group in groups:
            continue
        groups.add(answer.group)
        if answer.found.curve.base == "reference" and has_grid(answer.found.curve):
            maps.append(_map(answer, answer.found.curve, tolerance, page_of))
    return maps


def _map(answer: Answer, curve: Curve, tolerance: float, page_of: PageOf) -> Cells:
    assert answer.found is not None
    grid, chosen = loss_grid(curve), answer.found.saturation.row
    darkest, factor, unit = darkest_loss(grid.losses, tolerance), scale(curve), difference_unit(curve)
    what = f"{quality_title(curve).partition(' (')[0]} lost"
    is_cut = bool(np.nanmax(grid.losses) > darkest)
    return Cells(
        title=", ".join(part for part in (answer.group, what) if part),
        described=f"{what} against the reference at each pair of values of {grid.axes[0]} (across) and {grid.axes[1]} "
        f"(down): {int((grid.rows >= 0).sum())} of {grid.rows.size} cells, of which "
        f"{int(grid.within(tolerance).sum())} are within the tolerance.",
        note=f"{grid_note(grid, curve, tolerance, chosen)} ({cost_words(curve.cost).title})"
        if chosen is not None
        else grid_note(grid, curve, tolerance, chosen),
        x_title=grid.axes[0],
        y_title=grid.axes[1],
        key_title=what + (f" ({unit})" if unit else ""),
        key_ends=("0", f"{amount(curve, factor * darkest)}{' or more' if is_cut else ''}"),
        contents=[
            [_content(curve, grid, down, across, darkest, chosen, page_of) for across in range(len(grid.across))]
            for down in range(len(grid.down))
        ],
        across=grid.across,
        down=grid.down,
        edges=grid.edges(tolerance),
    )


def _content(
    curve: Curve, grid: LossGrid, down: int, across: int, darkest: float, chosen: int | None, page_of: PageOf
) -> Content:
    row, text = int(grid.rows[down, across]), cell_text(curve, grid, down, across)
    if row < 0:
        pair = f"{grid.axes[0]}={grid.across[across]}, {grid.axes[1]}={grid.down[down]}"
        return Content(text=text, said=f"{pair}: no run of it has finished", share=None)
    return Content(
        text=text,
        said=said_of(curve, row),
        share=float(grid.losses[down, across]) / darkest,
        is_framed=row == chosen,
        page=page_of(keys_of(curve, row)),
    )
