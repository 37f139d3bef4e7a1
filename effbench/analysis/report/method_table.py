"""Methods for the saturation point side by side: what each one chooses, and how sure it is of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from effbench.analysis.answers import Answer
from effbench.analysis.curves.costs import cost_words
from effbench.analysis.curves.curve import Curve
from effbench.analysis.curves.words import named
from effbench.analysis.saturation import Saturation

_SHOWN, _LEAST = 3, 0.005


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


def method_rows(found: Sequence[Answer], /) -> list[MethodRow]:
    """Return a row for each answer that has a cost and each definition that can be asked."""
    rows = []
    for answer in found:
        if answer.found is None:
            continue
        where = ", ".join(part for part in (answer.group, cost_words(str(answer.cost)).title) if part)
        for name, saturation in answer.definitions:
            rows.append(_row(where, name, saturation, answer.found.curve))
    return rows


def _row(where: str, method: str, saturation: Saturation, curve: Curve) -> MethodRow:
    row = saturation.row
    name = "none" if row is None else named(curve, row)
    return MethodRow(
        where=where,
        method=method,
        point=name,
        interval=_interval(saturation),
        shares=_shares(saturation.shares),
        reason=saturation.reason,
    )


def _interval(saturation: Saturation) -> str:
    """Write an interval of costs in one unit."""
    if saturation.interval is None:
        return ""
    low, high = saturation.interval
    size, unit = cost_words(saturation.cost).unit_for(low, high)
    ends = dict.fromkeys(f"{end / size:.4g}" for end in (low, high))
    return f"{' to '.join(ends)} {unit}".rstrip()


def _shares(shares: Mapping[str, float] | None) -> str:
    """Write the most frequent choices of the resamples: "prune=0.5 81 %, prune=0.8 19 %"."""
    ordered = sorted((shares or {}).items(), key=lambda item: -item[1])
    named = [f"{label} {100 * part:.0f} %" for label, part in ordered[:_SHOWN] if part >= _LEAST]
    return ", ".join([*named, *(["…"] if len(ordered) > _SHOWN else [])])
