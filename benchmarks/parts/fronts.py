"""What a curve of (megabytes, divergence, accuracy) comes to."""

from __future__ import annotations

import itertools
import math

Row = tuple[float, float, float]
"""Megabytes, divergence (nats), accuracy."""
DIVERGENCE = 0.13
MOST, LEAST, WORST = 3.5 / 14.156, 1 / 14.156, 0.6 / 0.832
"""Of the hypervolume: shares of the float network's bytes and of its accuracy. Those of MobileNetV2 are 3.5 MB, 1 MB
and 60 % on ImageNet's sample."""


def size_at(rows: list[Row], divergence: float) -> float:
    """Return the megabytes at a divergence, between the rows on either side of it; NaN beyond them."""
    ordered = sorted(rows, key=lambda row: -row[1])
    for (larger, above, _), (smaller, below, _) in itertools.pairwise(ordered):
        if below <= divergence <= above:
            share = (math.log(divergence) - math.log(above)) / (math.log(below) - math.log(above))
            return larger + share * (smaller - larger)
    return math.nan


def hypervolume(rows: list[Row], most: float, whole: float) -> float:
    """Return the area between the front and the corner, accuracy capped at the float network's, `most`.

    whole: megabytes of the float network.
    """
    corner, least, worst = math.log2(MOST * whole), math.log2(LEAST * whole), WORST * most
    front: list[tuple[float, float]] = []
    for size, _, accuracy in sorted(rows):
        if math.log2(size) <= corner and (not front or accuracy > front[-1][1]):
            front.append((max(math.log2(size), least), min(accuracy, most)))
    ends = [place for place, _ in front[1:]] + [corner]
    return sum(max(0.0, accuracy - worst) * (end - place) for (place, accuracy), end in zip(front, ends, strict=True))
