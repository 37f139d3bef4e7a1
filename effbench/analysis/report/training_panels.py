"""The report's pictures of trainings: loss and quality by epoch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis.curves.quality import Quality, spaced
from effbench.analysis.figures.names import shown_name
from effbench.analysis.report.panel import BOTTOM, LEFT, RIGHT, TOP, Entry, Line, Mark, Panel
from effbench.analysis.report.scale import Scale

CURVES = "curves"
"""The name of the table that has them: a row for each epoch."""
_VALIDATION = "_val"


def training_panels(tables: Mapping[str, Mapping[str, pd.DataFrame]], quality: Quality, /) -> list[Panel]:
    """Return a panel of the loss and one of the quality, a colour for each run; those of which nothing is known not.

    tables: of runs, by their names, of which `curves` is read. What was measured on validation is dashed.
    """
    runs = {name: own[CURVES] for name, own in tables.items() if CURVES in own and "epoch" in own[CURVES].columns}
    asked = (("loss", "mean loss", 1.0), (quality.name, spaced(quality.name), 100.0 if quality.is_fraction else 1.0))
    unit = " (%)" if quality.is_fraction else ""
    panels = [
        _panel(runs, column, f"{word}{unit if column == quality.name else ''}", factor)
        for column, word, factor in asked
    ]
    return [panel for panel in panels if panel is not None]


def _panel(runs: Mapping[str, pd.DataFrame], column: str, title: str, factor: float) -> Panel | None:
    drawn = [
        (number, kind, _finite(frame, name))
        for number, frame in enumerate(runs.values())
        for kind, name in (("line", column), ("dashed", f"{column}{_VALIDATION}"))
        if name in frame.columns
    ]
    drawn = [one for one in drawn if len(one[2])]
    if not drawn:
        return None
    whole = np.concatenate([places for _, _, places in drawn])
    x, y = (
        Scale.around(float(whole[:, side].min()), float(whole[:, side].max()), start=start, end=end)
        for side, start, end in ((0, LEFT, RIGHT), (1, BOTTOM, TOP))
    )
    lines, marks = [], []
    names = list(runs)
    for number, kind, places in drawn:
        said = f"{names[number]}: {column}{' on validation' if kind == 'dashed' else ' in training'}"
        corners = [(x.place(float(epoch)), y.place(float(value))) for epoch, value in places]
        lines.append(Line(corners=corners, colour=number, kind=kind, said=said))
        if len(corners) == 1:
            marks.append(Mark(x=corners[0][0], y=corners[0][1], kind="seed", colour=number, shape="o", said=said))
    shown = sorted({number for number, _, _ in drawn})
    legend = [Entry(name=shown_name(names[number]), colour=number, kind="line") for number in shown]
    if any(kind == "dashed" for _, kind, _ in drawn):
        legend.append(Entry(name="dashed: on validation", colour=6, kind="dashed"))
    ticks = [value for value in x.ticks(8) if value == int(value)] or [float(whole[0, 0])]
    return Panel(
        title=title,
        described=f"{title} by epoch of {len(shown)} runs: {', '.join(names[number] for number in shown)}.",
        x_title="epoch, counted through the whole run",
        y_title=title,
        x_ticks=[(x.place(value), f"{value:.6g}") for value in ticks],
        y_ticks=[(y.place(value), f"{factor * value:.6g}") for value in y.ticks(6)],
        lines=lines,
        marks=marks,
        legend=legend,
    )


def _finite(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """Return (n_epochs, 2): the epochs of which a number is known, and it."""
    places = np.column_stack([pd.to_numeric(frame[one], errors="coerce").to_numpy(float) for one in ("epoch", name)])
    return np.asarray(places[np.isfinite(places).all(axis=1)], dtype=np.float64)
