"""The table of a sweep's runs while it goes on: a row for each finished one, as the analysis reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from effbench.plan.point import Point
from effbench.plan.sweep import Sweep
from effbench.sweep.records import extra_qualities, quality_columns

Metrics = Mapping[str, Mapping[str, float]]
"""Of runs, by their keys."""


def run_frame(sweep: Sweep, metrics: Metrics, latencies: Metrics, /, *, among: Sequence[Point] = ()) -> pd.DataFrame:
    """Return the table of the runs whose metrics are there. among: the points it is of; none given: the sweep's."""
    points = among or sweep.plan.points
    rows = [_row(p, {**metrics[p.key], **latencies.get(p.key, {})}) for p in points if p.key in metrics]
    frame = pd.DataFrame(rows)
    frame.attrs["extra_qualities"] = extra_qualities(points[0])
    frame.attrs["moves"] = {name: list(axis.moves) for name, axis in sweep.axes.items()}
    frame.attrs["failed"] = [_failed(point) for point in points if point.key not in metrics]
    return frame


def _failed(point: Point) -> dict[str, object]:
    """Return what the analysis is to know of a run that failed."""
    return {
        "point": point.label,
        "seed": point.seed,
        "control": point.is_control,
        "model": point.network_name,
        "data": point.data_name,
        "task": point.chain.loaded_task().name,
    }


def _row(point: Point, metrics: Mapping[str, float]) -> dict[str, object]:
    """Return the row of a run, with the columns that the analysis reads."""
    return {
        **point.swept,
        "side": point.chain.side,
        "point": point.label,
        "seed": point.seed,
        "reference": point.is_reference,
        "control": point.is_control,
        "refined": point.is_refined,
        "run_key": point.key,
        "reference_key": point.reference_key or point.key,
        "model": point.network_name,
        "data": point.data_name,
        "task": point.chain.loaded_task().name,
        **quality_columns(point),
        **point.axes,
        **metrics,
    }
