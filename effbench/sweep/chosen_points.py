"""Which points of a sweep are timed: all of few, of many those that may be worth it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from effbench.analysis import undominated
from effbench.plan.point import Point
from effbench.plan.sweep import Sweep
from effbench.sweep.records import quality_columns

MANY = 20
"""More points than these are not all timed, unless that is asked for."""
OTHER_COSTS = ("size_bytes", "macs", "macs_effective", "params")
"""Over which the front is taken that is timed of many points."""


def points_to_measure(
    points: Sequence[Point], sweep: Sweep, metrics: Mapping[str, Mapping[str, float]], /
) -> list[Point]:
    """Return which runs are timed: of few points all, of many those on the front, their references and controls.

    metrics: of the runs, by their keys.
    """
    if are_all_timed(points, sweep):
        return list(points)
    rows = [
        {
            "point": point.label,
            "seed": point.seed,
            "model": point.network_name,
            "data": point.data_name,
            "task": point.chain.loaded_task().name,
            **quality_columns(point),
            **metrics[point.key],
        }
        for point in points
    ]
    best = undominated(pd.DataFrame(rows), costs=OTHER_COSTS)
    keys = {point.key for point, is_best in zip(points, best, strict=True) if is_best}
    keys |= {point.reference_key or point.key for point in points if point.key in keys}
    return [point for point in points if point.key in keys or point.is_reference or point.is_control]


def are_all_timed(points: Sequence[Point], sweep: Sweep, /) -> bool:
    """Whether all points are timed: there are few, or all are asked for."""
    return sweep.measure.points == "all" or len({point.label for point in points}) <= MANY
