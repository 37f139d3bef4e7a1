"""On which share of the weights techniques acted, what they left, took and missed: a line where it matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from effbench.plan.point import Point

ACTED, LEFT, REMOVED, ASKED, MADE_FOR = "acted_share/", "left/", "removed/", "rate_bytes/", "made_for/"
"""What names of metrics and of words begin with, before the step that they are about."""
_MOST_LABELS = 3
_MISSED = 1.02
"""How much longer than asked a file may be before it is said."""


def share_lines(
    points: Sequence[Point], metrics: Mapping[str, Mapping[str, float]], words: Mapping[str, Mapping[str, str]], /
) -> list[str]:
    """Return a line for each share that a step of the points acted on, where that was less than all of the weights.

    Another one where a step took another share than was asked of it, or where the run's file is longer. metrics and
    words: of the points' runs, by key.
    """
    labels: dict[str, dict[str, None]] = {}
    for point in points:
        told = words.get(point.key, {})
        for name, share in metrics[point.key].items():
            step = name.removeprefix(ACTED)
            if name.startswith(ACTED):
                left = f"; left: {told[LEFT + step]}" if told.get(LEFT + step) else ""
                labels.setdefault(f"{step} acted on {_percent(share)} of the weights{left}", {})[point.label] = None
            if name.startswith(ASKED) and metrics[point.key]["size_bytes"] > _MISSED * share:
                missed = _missed(name.removeprefix(ASKED), metrics[point.key]["size_bytes"] / share, point, told)
                labels.setdefault(missed, {})[point.label] = None
        for name, what in told.items():
            if name.startswith(REMOVED):
                labels.setdefault(f"{name.removeprefix(REMOVED)} removed {what}", {})[point.label] = None
    return [f"{listed(list(found))}: {line}" for line, found in labels.items()]


def _missed(step: str, times: float, point: Point, told: Mapping[str, str]) -> str:
    """Say by how much a file is longer than the step has made it, and what to do where that is the coder's doing."""
    coder = told.get(MADE_FOR + step, point.coder)
    why = f"; it is for coder={coder}, so give that in place of {point.coder}" if coder != point.coder else ""
    return f"the file is {times:.2f} × as long as {step} made it{why}"


def _percent(share: float) -> str:
    """Write a share below 1, which is never said to be all.

    >>> _percent(0.312), _percent(0.9999), _percent(0.0004)
    ('31 %', '99.99 %', '0.04 %')
    """
    percent = 100 * share
    digits = next((digits for digits in range(5) if float(f"{percent:.{digits}f}") not in (0, 100)), 5)
    return f"{percent:.{digits}f} %"


def listed(labels: Sequence[str], /) -> str:
    """Write the labels of some points: the first three, and how many more there are."""
    more = len(labels) - _MOST_LABELS
    return "; ".join(labels[:_MOST_LABELS]) + (f" and {more} more" if more > 0 else "")
