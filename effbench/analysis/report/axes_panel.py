"""The report's picture of several axes: each axis's own curve, and the joint front behind them."""

from __future__ import annotations

from collections.abc import Sequence

from effbench.analysis.answers import Answer
from effbench.analysis.contributions import axis_rows, is_joined, moves_of
from effbench.analysis.curves.costs import cost_words
from effbench.analysis.curves.curve import Curve
from effbench.analysis.curves.pareto import front_rows
from effbench.analysis.curves.words import quality_title
from effbench.analysis.figures.marks import style_of
from effbench.analysis.figures.names import shown_name
from effbench.analysis.report.figure import labels_of, written_axes
from effbench.analysis.report.marks import keys_of, said_of
from effbench.analysis.report.panel import Entry, Line, Mark, PageOf, Panel, scales_of
from effbench.analysis.report.scale import Scale

_BEHIND = "joint front"


def axes_panels(found: Sequence[Answer], /, *, page_of: PageOf) -> list[Panel]:
    """Return a panel for each group in which several axes move away from a reference, on its first cost."""
    panels, groups = [], set()
    for answer in found:
        if answer.found is None or answer.group in groups:
            continue
        groups.add(answer.group)
        curve = answer.found.curve
        moves = moves_of(curve)
        axes = [axis for place, axis in enumerate(moves.axes) if moves.moved[:, place].any()]
        if len(axes) > 1 and curve.base == "reference":
            panels.append(_panel(answer.group, curve, axes, page_of))
    return panels


def _panel(group: str, curve: Curve, axes: Sequence[str], page_of: PageOf) -> Panel:
    x, y = scales_of(curve, None, 0.0)
    front = front_rows(curve)
    lines = [Line(corners=_places(curve, x, y, front.tolist()), kind="behind", said=_BEHIND)]
    legend = [Entry(name=_BEHIND, kind="behind")]
    styles: dict[int, tuple[int, str]] = {}
    for number, axis in enumerate(axes):
        shape, rows = style_of(number).shape, axis_rows(curve, axis).tolist()
        if is_joined(curve, axis):
            lines.append(Line(corners=_places(curve, x, y, rows), colour=number, said=axis))
        legend.append(Entry(name=shown_name(axis), colour=number, shape=shape))
        styles |= {row: (number, shape) for row in rows if row not in styles}
    references = set(curve.references.tolist())
    marks = [_mark(curve, row, x, y, styles.get(row), row in references, page_of) for row in range(len(curve))]
    if any(mark.kind == "several" for mark in marks):
        legend.append(Entry(name="several axes", shape="o", kind="several"))
    legend.append(Entry(name="reference", shape="D", kind="reference"))
    of_axes = sorted(styles)
    title = cost_words(curve.cost).title
    return Panel(
        title=", ".join(part for part in (group, title) if part),
        described=f"{quality_title(curve)} against {title}: a line for each of {', '.join(axes)}, the others at "
        f"the reference's value; behind them the joint front of all {len(curve)} points.",
        **written_axes(curve, x, y),
        lines=lines,
        marks=sorted(marks, key=lambda mark: mark.kind != "several"),
        labels=labels_of(curve, marks, lines, among=of_axes),
        legend=legend,
    )


def _places(curve: Curve, x: Scale, y: Scale, rows: Sequence[int]) -> list[tuple[float, float]]:
    return [(x.place(float(curve.costs[row])), y.place(float(curve.values[row]))) for row in rows]


def _mark(
    curve: Curve, row: int, x: Scale, y: Scale, style: tuple[int, str] | None, is_reference: bool, page_of: PageOf
) -> Mark:
    ((left, top),) = _places(curve, x, y, [row])
    colour, shape = style or (0, "o")
    return Mark(
        x=left,
        y=top,
        kind="reference" if is_reference else "several" if style is None else "front",
        colour=colour,
        shape="D" if is_reference else shape,
        said=said_of(curve, row),
        page=page_of(keys_of(curve, row)),
    )
