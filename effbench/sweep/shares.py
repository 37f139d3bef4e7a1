"""On which share of the weights techniques acted, and which layers they left: a line where that was not all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from effbench.plan.point import Point

ACTED, LEFT = "acted_share/", "left/"
"""What names of metrics and of words begin with, before the step that they are about."""
_MOST_LABELS = 3


def share_lines(
    points: Sequence[Point], metrics: Mapping[str, Mapping[str, float]], words: Mapping[str, Mapping[str, str]], /
) -> list[str]:
    """Return a line for each share that a step of the points acted on, where that was less than all of the weights.

    metrics and words: of the points' runs, by key.
    """
    labels: dict[tuple[str, str, str], dict[str, None]] = {}
    for point in points:
        for name, share in metrics[point.key].items():
            step = name.removeprefix(ACTED)
            if name.startswith(ACTED):
                left = words.get(point.key, {}).get(f"{LEFT}{step}", "")
                labels.setdefault((step, _percent(share), left), {})[point.label] = None
    return [
        f"{_listed(list(labels[found]))}: {step} acted on {share} of the weights" + (f"; left: {left}" if left else "")
        for found in labels
        for step, share, left in [found]
    ]


def _percent(share: float) -> str:
    """Write a share below 1, which is never said to be all.

    >>> _percent(0.312), _percent(0.9999), _percent(0.0004)
    ('31 %', '99.99 %', '0.04 %')
    """
    percent = 100 * share
    digits = next((digits for digits in range(5) if float(f"{percent:.{digits}f}") not in (0, 100)), 5)
    return f"{percent:.{digits}f} %"


def _listed(labels: Sequence[str]) -> str:
    more = len(labels) - _MOST_LABELS
    return "; ".join(labels[:_MOST_LABELS]) + (f" and {more} more" if more > 0 else "")
