"""The report's picture of nominal against real: how much faster points were measured to be than they promise."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from effbench.analysis.figures.marks import style_of
from effbench.analysis.report.labels import Box, place_labels
from effbench.analysis.report.panel import BOTTOM, LEFT, RIGHT, TOP, Entry, Line, Mark, Panel
from effbench.analysis.report.scale import Scale

_LEAST = 1.1
"""By which axes reach beyond 1 at least."""
_SHIFT = 3.0
"""Pixels between engines, whose bars would hide each other."""


def nominal_panels(rows: pd.DataFrame, /) -> list[Panel]:
    """Return the picture of the rows of `nominal_and_real`; none where no promise is known."""
    known = rows[np.isfinite(rows["macs_effective_ratio"].astype(float)) & (rows["macs_effective_ratio"] > 0)]
    known = known[(known["speedup"] > 0) & (known["speedup_low"] > 0)].reset_index(drop=True)
    return [_panel(known)] if len(known) else []


def _panel(frame: pd.DataFrame) -> Panel:
    x = _scale(frame["macs_effective_ratio"], start=LEFT, end=RIGHT)
    y = _scale(pd.concat([frame[name] for name in ("speedup", "speedup_low", "speedup_high")]), start=BOTTOM, end=TOP)
    engines = list(dict.fromkeys(frame["engine"].astype(str)))
    rows = frame.to_dict("records")
    marks = [_mark(row, x, y, engines) for row in rows]
    lines = _guides(x, y)
    is_wrong = [str(row["verdict"]) in ("none", "slower") for row in rows]
    order = sorted(range(len(rows)), key=lambda number: (not is_wrong[number], number))
    return Panel(
        title="measured speed-up against what multiply-adds promise",
        described=f"{len(rows)} points and engines ({', '.join(engines)}); on the dashed diagonal all that is promised "
        f"is real, on the level line nothing; {sum(is_wrong)} are no faster than the reference.",
        x_title="promised: times fewer multiply-adds",
        y_title="measured: times faster",
        x_ticks=[(x.place(value), f"{value:.6g}×") for value in x.ticks(6)],
        y_ticks=[(y.place(value), f"{value:.6g}×") for value in y.ticks(6)],
        lines=lines,
        bars=[
            (mark.x, y.place(row["speedup_low"]), y.place(row["speedup_high"]))
            for mark, row in zip(marks, rows, strict=True)
        ],
        marks=marks,
        labels=place_labels(
            [(mark.x, mark.y) for mark in marks],
            [str(row["point"]) for row in rows],
            order=order,
            frame=Box(left=LEFT, top=TOP, right=RIGHT + 8, bottom=BOTTOM),
            lines=[line.corners for line in lines],
        ),
        legend=[
            Entry(name=engine, colour=number, shape=style_of(number).shape) for number, engine in enumerate(engines)
        ],
    )


def _guides(x: Scale, y: Scale) -> list[Line]:
    """Return the line on which all that is promised is real, and that on which nothing is."""
    level = y.place(1.0)
    lines = [Line(corners=[(LEFT, level), (RIGHT, level)], kind="level", said="none of it is real")]
    low, high = max(x.low, y.low), min(x.high, y.high)
    if low < high:
        corners = [(x.place(end), y.place(end)) for end in (low, high)]
        lines.append(Line(corners=corners, kind="limit", said="all of it is real"))
    return lines


def _scale(values: pd.Series, *, start: float, end: float) -> Scale:
    """Return a logarithmic scale of ratios, with 1 on it."""
    low, high = min(float(values.min()), 1 / _LEAST), max(float(values.max()), _LEAST)
    return Scale.around(low, high, start=start, end=end, is_logarithmic=True)


def _mark(row: Mapping[Hashable, Any], x: Scale, y: Scale, engines: Sequence[str]) -> Mark:
    number, promised, speedup = engines.index(str(row["engine"])), row["macs_effective_ratio"], row["speedup"]
    return Mark(
        x=round(x.place(promised) + _SHIFT * (number - (len(engines) - 1) / 2), 1),
        y=y.place(speedup),
        kind="front",
        colour=number,
        shape=style_of(number).shape,
        said=f"{row['point']}, {row['engine']}: {promised:.2f}× fewer multiply-adds, {speedup:.2f}× as fast "
        f"({row['speedup_low']:.2f} to {row['speedup_high']:.2f}): {row['verdict']}",
    )
