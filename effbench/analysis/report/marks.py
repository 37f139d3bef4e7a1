"""The marks of the report's figure: of points, of single runs and of controls, with what is said of each."""

from __future__ import annotations

import numpy as np

from effbench.analysis.curves.costs import cost_words
from effbench.analysis.curves.curve import Curve
from effbench.analysis.curves.pareto import front_rows
from effbench.analysis.curves.series import series_of
from effbench.analysis.curves.words import change, change_on_test, level, named, quality_title, share
from effbench.analysis.figures.marks import SHAPES, style_of
from effbench.analysis.report.panel import Entry, Line, Mark, PageOf, of_runs
from effbench.analysis.report.scale import Scale


def point_marks(curve: Curve, x: Scale, y: Scale, page_of: PageOf) -> tuple[list[Mark], list[Line], list[Entry]]:
    """Return a mark for each point in the curve's order, the lines of series, and what tells series apart."""
    front, references = set(front_rows(curve).tolist()), set(curve.references.tolist())
    series, marks = series_of(curve), dict[int, Mark]()
    lines: list[Line] = []
    legend: list[Entry] = []
    for number, one in enumerate(series):
        shape = style_of(number).shape
        places = [(x.place(float(curve.costs[row])), y.place(float(curve.values[row]))) for row in one.rows.tolist()]
        if one.is_joined:
            lines.append(Line(corners=places, colour=number))
        if len(series) > 1 and one.name and not set(one.rows.tolist()) <= references:
            legend.append(Entry(name=one.name, colour=number, shape=shape))
        for row, (left, top) in zip(one.rows.tolist(), places, strict=True):
            kind = "reference" if row in references else "front" if row in front else "dominated"
            marks[row] = Mark(
                x=left,
                y=top,
                kind=kind,
                colour=number,
                shape="D" if kind == "reference" else shape,
                said=said_of(curve, row),
                page=page_of(keys_of(curve, row)),
            )
    return [marks[row] for row in range(len(curve))], lines, legend


def keys_of(curve: Curve, row: int, /) -> list[str]:
    """Return the keys of the runs of a point; none where the frame does not have them."""
    if "run_key" not in curve.runs.columns:
        return []
    runs = curve.pairs.runs[curve.pairs.points == row]
    return list(dict.fromkeys(str(key) for key in curve.runs["run_key"].to_numpy()[runs]))


def said_of(curve: Curve, row: int, /) -> str:
    """Return what is said of a point: its name, its quality, its cost, what it loses."""
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


def seed_marks(curve: Curve, x: Scale, y: Scale, page_of: PageOf, /) -> list[Mark]:
    """Return a small mark for each run, where points have several."""
    if int(curve.n_seeds.max()) < 2:
        return []
    rows, points = curve.pairs.runs, curve.pairs.points
    costs, values = of_runs(curve, curve.cost), of_runs(curve, curve.quality_column)
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


def control_marks(controls: Curve | None, x: Scale, y: Scale, page_of: PageOf, /) -> list[Mark]:
    """Return a mark for each uncompressed control."""
    if controls is None:
        return []
    return [
        Mark(
            x=x.place(float(controls.costs[row])),
            y=y.place(float(controls.values[row])),
            kind="control",
            colour=0,
            shape="D",
            said=f"uncompressed control\n{said_of(controls, row)}",
            page=page_of(keys_of(controls, row)),
        )
        for row in np.setdiff1d(np.arange(len(controls)), controls.references).tolist()
    ]


def bars_of(curve: Curve, x: Scale, y: Scale, /) -> list[tuple[float, float, float]]:
    """Return a bar of ± a standard deviation for each point that has one: (x, from y, to y)."""
    deviations = curve.deviations[curve.quality_column].to_numpy(dtype=np.float64)
    known = np.flatnonzero(deviations > 0)  # not where it is NaN: one run has none
    ends = [(curve.values[row] - deviations[row], curve.values[row] + deviations[row]) for row in known]
    return [
        (x.place(float(curve.costs[row])), y.place(float(low)), y.place(float(high)))
        for row, (low, high) in zip(known, ends, strict=True)
    ]


assert set(SHAPES) <= set("os^vPXpD"), "the template knows the path of every shape"
