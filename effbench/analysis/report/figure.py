"""The report's figure as plain numbers: what a template draws of each panel. No text in it is markup."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis.answers import Answer
from effbench.analysis.curves.columns import metric_columns
from effbench.analysis.curves.costs import cost_words
from effbench.analysis.curves.curve import Curve, control_curve
from effbench.analysis.curves.pareto import front_rows
from effbench.analysis.curves.series import series_of
from effbench.analysis.curves.words import allowance, change, change_on_test, level, named, quality_title, scale, share
from effbench.analysis.figures.marks import SHAPES, base_word, style_of
from effbench.analysis.figures.panels import in_proportion
from effbench.analysis.report.labels import Box, Label, place_labels
from effbench.analysis.report.scale import Scale

WIDTH, HEIGHT = 480, 330
LEFT, RIGHT, TOP, BOTTOM = 52, 468, 10, 284
"""The pixels between which values lie."""
_WIDE = 10.0
"""From this ratio of the largest cost to the smallest on the axis is logarithmic, as in `figure_axes`."""
PageOf = Callable[[Sequence[str]], str | None]
"""Returns the address of a page that shows the runs of some keys; None where there is none."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A point of the figure, or a single run of it."""

    x: float
    y: float
    kind: str
    """front, dominated, reference, control or seed."""
    colour: int
    """The number of a colour."""
    shape: str
    """One of matplotlib's letters for markers."""
    said: str
    """What is shown where the pointer is over it."""
    page: str | None
    """Where a click leads."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One quality against one cost."""

    title: str
    alike: str
    """Costs in proportion to this one, whose panels would look the same."""
    described: str
    """What is seen, for those who don't see it."""
    x_title: str
    y_title: str
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    lines: Sequence[tuple[int, str]]
    """(colour, points of a polyline)."""
    bars: Sequence[tuple[float, float, float]]
    """(x, from y, to y) of ± a standard deviation."""
    marks: Sequence[Mark]
    labels: Sequence[Label]
    limits: Sequence[float]
    """Of the tolerance: the y of each."""
    limit_said: str
    band: tuple[float, float] | None
    """From which x to which the saturation point's interval goes."""
    ring: tuple[float, float] | None
    legend: Sequence[tuple[int, str, str]]
    """(colour, shape, name) of each series, where there are several."""


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
    x, y = _scales(curve, controls, tolerance)
    chosen = answer.saturation.row
    marks = [*_seed_marks(curve, x, y, page_of), *_control_marks(controls, x, y, page_of)]
    points, lines, legend = _point_marks(curve, x, y, page_of)
    words, factor = cost_words(curve.cost), scale(curve)
    size, unit = words.unit_for(float(curve.costs[0]), float(curve.costs[-1]))
    limits = np.unique(curve.values[curve.references] - curve.sign * tolerance)
    interval = answer.saturation.interval
    ring = None if chosen is None else (x.place(float(curve.costs[chosen])), y.place(float(curve.values[chosen])))
    return Panel(
        title=", ".join(part for part in (answer.group, words.title) if part),
        alike=", ".join(alike),
        described=f"{quality_title(curve)} against {words.title}, {len(curve)} points. {answer.sentence}",
        x_title=words.title + (f" ({unit})" if unit else "") + (", logarithmic" if x.is_logarithmic else ""),
        y_title=quality_title(curve),
        x_ticks=[(x.place(value), f"{value / size:.6g}") for value in x.ticks(6)],
        y_ticks=[(y.place(value), f"{factor * value:.6g}") for value in y.ticks(6)],
        lines=lines,
        bars=_bars(curve, x, y),
        marks=[*marks, *points],
        labels=_labels(curve, points, chosen, lines),
        limits=[y.place(float(limit)) for limit in limits],
        limit_said=f"{base_word(curve)} {'−' if curve.sign > 0 else '+'} {allowance(curve, tolerance)}",
        band=None if interval is None else (x.place(interval[0]), x.place(interval[1])),
        ring=ring,
        legend=legend,
    )


def _scales(curve: Curve, controls: Curve | None, tolerance: float) -> tuple[Scale, Scale]:
    curves = [curve] if controls is None else [curve, controls]
    costs, values = (np.concatenate([getattr(one, name) for one in curves]) for name in ("costs", "values"))
    values = np.concatenate([values, _of_runs(curve, curve.quality_column)])
    costs = np.concatenate([costs, _of_runs(curve, curve.cost)])
    limits = curve.values[curve.references] - curve.sign * tolerance
    low, high = float(costs.min()), float(costs.max())
    values = np.concatenate([values, limits])
    is_wide = low > 0 and high > _WIDE * low
    return (
        Scale.around(low, high, start=LEFT, end=RIGHT, is_logarithmic=is_wide),
        Scale.around(float(values.min()), float(values.max()), start=BOTTOM, end=TOP),
    )


def _of_runs(curve: Curve, column: str) -> NDArray[np.float64]:
    return np.asarray(curve.runs[column], dtype=np.float64)[curve.pairs.runs]


def _point_marks(
    curve: Curve, x: Scale, y: Scale, page_of: PageOf
) -> tuple[list[Mark], list[tuple[int, str]], list[tuple[int, str, str]]]:
    """Return a mark for each point in the curve's order, the lines of series, and what tells series apart."""
    front, references = set(front_rows(curve).tolist()), set(curve.references.tolist())
    series, marks = series_of(curve), dict[int, Mark]()
    lines: list[tuple[int, str]] = []
    legend: list[tuple[int, str, str]] = []
    for number, one in enumerate(series):
        shape = style_of(number).shape
        places = [(x.place(float(curve.costs[row])), y.place(float(curve.values[row]))) for row in one.rows.tolist()]
        if one.is_joined:
            lines.append((number, " ".join(f"{left},{top}" for left, top in places)))
        if len(series) > 1 and one.name:
            legend.append((number, shape, one.name))
        for row, (left, top) in zip(one.rows.tolist(), places, strict=True):
            kind = "reference" if row in references else "front" if row in front else "dominated"
            marks[row] = Mark(
                x=left,
                y=top,
                kind=kind,
                colour=number,
                shape="D" if kind == "reference" else shape,
                said=_said(curve, row),
                page=page_of(keys_of(curve, row)),
            )
    return [marks[row] for row in range(len(curve))], lines, legend


def keys_of(curve: Curve, row: int, /) -> list[str]:
    """Return the keys of the runs of a point; none where the frame does not have them."""
    if "run_key" not in curve.runs.columns:
        return []
    runs = curve.pairs.runs[curve.pairs.points == row]
    return list(dict.fromkeys(str(key) for key in curve.runs["run_key"].to_numpy()[runs]))


def _said(curve: Curve, row: int) -> str:
    size, unit = cost_words(curve.cost).unit_for(float(curve.costs[row]), float(curve.costs[row]))
    lines = [named(curve, row), f"{quality_title(curve).partition(' (')[0]}: {level(curve, float(curve.values[row]))}"]
    deviation = float(curve.deviations[curve.quality_column].iloc[row])
    if deviation > 0:
        lines[-1] += f" ± {100 * deviation if curve.is_fraction else deviation:.2g} over {curve.n_seeds[row]} seeds"
    ratio = float(curve.ratios[row])
    part = "" if np.isnan(ratio) else f" ({share(ratio)} the reference's)"
    lines.append(f"{cost_words(curve.cost).title}: {float(curve.costs[row]) / size:.4g} {unit}".rstrip() + part)
    if row not in set(curve.references.tolist()):
        on_test = change_on_test(curve, row)
        lines.append(change(curve, row) + (f"; {on_test}" if on_test else ""))
    return "\n".join(lines)


def _seed_marks(curve: Curve, x: Scale, y: Scale, page_of: PageOf) -> list[Mark]:
    """Return a small mark for each run, where points have several."""
    if int(curve.n_seeds.max()) < 2:
        return []
    rows, points = curve.pairs.runs, curve.pairs.points
    costs, values = _of_runs(curve, curve.cost), _of_runs(curve, curve.quality_column)
    runs = curve.runs.iloc[rows]
    seeds = runs["seed"].tolist() if "seed" in runs.columns else [""] * len(runs)
    keys = runs["run_key"].tolist() if "run_key" in runs.columns else [None] * len(runs)
    return [
        Mark(
            x=x.place(float(costs[number])),
            y=y.place(float(values[number])),
            kind="seed",
            colour=0,
            shape="o",
            said=f"{curve.labels[points[number]]}, seed={seeds[number]}: {level(curve, float(values[number]))}",
            page=None if keys[number] is None else page_of([str(keys[number])]),
        )
        for number in range(len(runs))
    ]


def _control_marks(controls: Curve | None, x: Scale, y: Scale, page_of: PageOf) -> list[Mark]:
    if controls is None:
        return []
    return [
        Mark(
            x=x.place(float(controls.costs[row])),
            y=y.place(float(controls.values[row])),
            kind="control",
            colour=0,
            shape="D",
            said=f"uncompressed control\n{_said(controls, row)}",
            page=page_of(keys_of(controls, row)),
        )
        for row in np.setdiff1d(np.arange(len(controls)), controls.references).tolist()
    ]


def _bars(curve: Curve, x: Scale, y: Scale) -> list[tuple[float, float, float]]:
    deviations = curve.deviations[curve.quality_column].to_numpy(dtype=np.float64)
    known = np.flatnonzero(deviations > 0)  # not where it is NaN: one run has none
    ends = [(curve.values[row] - deviations[row], curve.values[row] + deviations[row]) for row in known]
    return [
        (x.place(float(curve.costs[row])), y.place(float(low)), y.place(float(high)))
        for row, (low, high) in zip(known, ends, strict=True)
    ]


def _labels(curve: Curve, marks: Sequence[Mark], chosen: int | None, lines: Sequence[tuple[int, str]]) -> list[Label]:
    """Return the names that have room: the saturation point's and the references' first, then those of the front."""
    kinds = ("reference", "front", "dominated")
    order = sorted(range(len(marks)), key=lambda row: (row != chosen, kinds.index(marks[row].kind), row))
    frame = Box(left=LEFT, top=TOP, right=RIGHT + 8, bottom=BOTTOM)
    places = [(mark.x, mark.y) for mark in marks]
    corners = [
        [(float(x), float(y)) for x, _, y in (pair.partition(",") for pair in line.split())] for _, line in lines
    ]
    return place_labels(places, curve.labels, order=order, frame=frame, ringed=chosen, lines=corners)


assert set(SHAPES) <= set("os^vPXpD"), "the template knows the path of every shape"
