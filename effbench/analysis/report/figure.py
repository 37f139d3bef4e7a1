"""The report's figure: a panel for each group and cost, and what is written in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from effbench.analysis.answers import Answer
from effbench.analysis.curves.columns import metric_columns
from effbench.analysis.curves.costs import cost_words
from effbench.analysis.curves.curve import Curve, control_curve
from effbench.analysis.curves.words import allowance, quality_title, scale
from effbench.analysis.figures.marks import base_word
from effbench.analysis.figures.panels import in_proportion
from effbench.analysis.report.labels import Box, Label, place_labels
from effbench.analysis.report.marks import bars_of, control_marks, point_marks, seed_marks
from effbench.analysis.report.panel import BOTTOM, LEFT, RIGHT, TOP, Line, Mark, PageOf, Panel, scales_of
from effbench.analysis.report.scale import Scale


def panels_of(found: Sequence[Answer], /, *, tolerance: float, page_of: PageOf) -> list[Panel]:
    """Return what is drawn of answers that have a cost. Costs of a group in proportion to each other are one panel."""
    drawn: list[tuple[Answer, Curve, list[str]]] = []
    for answer in found:
        if answer.found is None:
            continue
        curve = answer.found.curve
        same = [alike for other, one, alike in drawn if other.group == answer.group and in_proportion(one, curve)]
        if same:
            same[0].append(cost_words(curve.cost).title)
        else:
            drawn.append((answer, curve, []))
    return [_panel(answer, curve, alike, tolerance, page_of) for answer, curve, alike in drawn]


def with_needed(answer: Answer, /) -> pd.DataFrame:
    """Return the runs of an answer without the metrics that its cost and its quality are not: averaging takes time."""
    assert answer.saturation is not None
    quality = answer.saturation.quality
    needed = {answer.cost, quality, quality.removesuffix("_val")}
    return answer.runs.drop(columns=[name for name in metric_columns(answer.runs) if name not in needed])


def _panel(answer: Answer, curve: Curve, alike: Sequence[str], tolerance: float, page_of: PageOf) -> Panel:
    assert answer.saturation is not None
    controls = control_curve(with_needed(answer), cost=curve.cost)
    x, y = scales_of(curve, controls, tolerance)
    chosen = answer.saturation.row
    marks = [*seed_marks(curve, x, y, page_of), *control_marks(controls, x, y, page_of)]
    points, lines, legend = point_marks(curve, x, y, page_of)
    words = cost_words(curve.cost)
    limits = np.unique(curve.values[curve.references] - curve.sign * tolerance)
    interval = answer.saturation.interval
    ring = None if chosen is None else (x.place(float(curve.costs[chosen])), y.place(float(curve.values[chosen])))
    return Panel(
        title=", ".join(part for part in (answer.group, words.title) if part),
        alike=", ".join(alike),
        described=f"{quality_title(curve)} against {words.title}, {len(curve)} points. {answer.sentence}",
        **written_axes(curve, x, y),
        lines=lines,
        bars=bars_of(curve, x, y),
        marks=[*marks, *points],
        labels=labels_of(curve, points, lines, chosen=chosen),
        limits=[y.place(float(limit)) for limit in limits],
        limit_said=f"{base_word(curve)} {'−' if curve.sign > 0 else '+'} {allowance(curve, tolerance)}",
        band=None if interval is None else (x.place(interval[0]), x.place(interval[1])),
        ring=ring,
        legend=legend,
    )


def written_axes(curve: Curve, x: Scale, y: Scale, /) -> dict[str, Any]:
    """Return the titles and ticks of a panel's axes of cost and quality."""
    words, factor = cost_words(curve.cost), scale(curve)
    size, unit = words.unit_for(float(curve.costs[0]), float(curve.costs[-1]))
    return {
        "x_title": words.title + (f" ({unit})" if unit else "") + (", logarithmic" if x.is_logarithmic else ""),
        "y_title": quality_title(curve),
        "x_ticks": [(x.place(value), f"{value / size:.6g}") for value in x.ticks(6)],
        "y_ticks": [(y.place(value), f"{factor * value:.6g}") for value in y.ticks(6)],
    }


def labels_of(
    curve: Curve,
    marks: Sequence[Mark],
    lines: Sequence[Line],
    /,
    *,
    chosen: int | None = None,
    among: Sequence[int] | None = None,
) -> list[Label]:
    """Return the names that have room: the saturation point's and the references' first, then those of the front.

    marks: of the curve's points, in its order. among: the rows that may have a name; None: all.
    """
    kinds, rows = ("reference", "front", "dominated"), range(len(marks)) if among is None else among
    order = sorted(rows, key=lambda row: (row != chosen, kinds.index(marks[row].kind), row))
    frame = Box(left=LEFT, top=TOP, right=RIGHT + 8, bottom=BOTTOM)
    places = [(mark.x, mark.y) for mark in marks]
    covered = [line.corners for line in lines if line.kind != "behind"]
    return place_labels(places, curve.labels, order=order, frame=frame, ringed=chosen, lines=covered)
