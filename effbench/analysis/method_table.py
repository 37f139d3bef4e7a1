"""Methods for the saturation point side by side: what each one chooses, and how sure it is of that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from effbench.analysis.answers import Answer
from effbench.analysis.costs import cost_words
from effbench.analysis.counts import Counts
from effbench.analysis.report_figure import with_needed
from effbench.analysis.saturation import Saturation, saturation_point

METHODS = ("tolerance", "tolerance_bound", "kneedle", "marginal", "price")
"""In the order of the table. `price` asks what a point of quality is worth, and is left out where nobody says it."""
_WITH_TOLERANCE = ("tolerance", "tolerance_bound")
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class MethodRow:
    """What one method says of one group and cost."""

    where: str
    """Group and cost."""
    method: str
    point: str
    """"none" where there is no saturation point."""
    interval: str
    """95 % of the costs at which it falls; empty where nothing is known of it."""
    shares: str
    """How many of the resamples chose which point; empty where it is not known."""
    reason: str


def method_rows(found: Sequence[Answer], /, *, tolerance: float, counts: Counts | None) -> list[MethodRow]:
    """Return a row for each answer that has a cost and each method that there is."""
    rows = []
    for answer in found:
        if answer.cost is None or answer.saturation is None:
            continue
        where = ", ".join(part for part in (answer.group, cost_words(answer.cost).title) if part)
        for method, saturation, problem in _by_method(answer, tolerance, counts):
            rows.append(_row(where, method, saturation, problem))
    return rows


def _by_method(answer: Answer, tolerance: float, counts: Counts | None) -> Iterator[tuple[str, Saturation | None, str]]:
    """Yield what methods say, or why one says nothing; a method that there is not is left out."""
    for method in METHODS:
        if answer.saturation is not None and answer.saturation.method == method:
            yield method, answer.saturation, ""
            continue
        options: dict[str, Any] = {"tolerance": tolerance} if method in _WITH_TOLERANCE else {}
        try:
            yield (
                method,
                saturation_point(with_needed(answer), cost=answer.cost, method=method, counts=counts, **options),
                "",
            )
        except ValueError as error:
            if not str(error).startswith("unknown method") and method != "price":
                yield method, None, str(error)


def _row(where: str, method: str, saturation: Saturation | None, problem: str) -> MethodRow:
    if saturation is None:
        return MethodRow(where=where, method=method, point="none", interval="", shares="", reason=problem)
    point = saturation.point
    name = "none" if point is None else str(point.get("point", f"{saturation.cost}={point[saturation.cost]:.4g}"))
    return MethodRow(
        where=where,
        method=method,
        point=name,
        interval=_interval(saturation),
        shares=_shares(getattr(saturation, "shares", None)),
        reason=saturation.reason,
    )


def _interval(saturation: Saturation) -> str:
    """Write an interval of costs in one unit."""
    if saturation.interval is None:
        return ""
    low, high = saturation.interval
    size, unit = cost_words(saturation.cost).unit_for(low, high)
    return f"{low / size:.4g} to {high / size:.4g} {unit}".rstrip()


def _shares(shares: Mapping[str, float] | None) -> str:
    """Write the most frequent choices of the resamples: "prune=0.5 81 %, prune=0.8 19 %"."""
    ordered = sorted((shares or {}).items(), key=lambda item: -item[1])
    named = [f"{label} {100 * part:.0f} %" for label, part in ordered[:_SHOWN] if part > 0]
    return ", ".join([*named, *(["…"] if len(ordered) > _SHOWN else [])])
