"""The table of points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis.curves.averages import average_runs
from effbench.analysis.curves.columns import codes_of, parse_numbers
from effbench.analysis.curves.groups import failed_seeds, group_columns, marked_references
from effbench.analysis.curves.quality import Quality, secondary_columns
from effbench.analysis.curves.reached import axes_in_rounds, ended_early
from effbench.analysis.nominal import verdicts

_COSTS = ("size_bytes", "size_ratio", "macs", "macs_effective", "params_nonzero")
_TIMES = ("latency_ms/", "latency_ms_p90/", "speedup/")


def points_table(frame: pd.DataFrame, *, axes: Sequence[str]) -> pd.DataFrame:
    """Return one row per point, the references first, then by axes: the axes, the number of seeds, the means over them.

    Where axes tell networks, data sets or tasks apart (`group_columns`), rows are grouped by these, each group with its
    own reference first.

    frame: one row per run, in any order. axes: the swept columns, in the order in which they sort. The means are those
    of the quality on the test and on the validation split, of the costs, and of what else the frame says about the
    quality (`secondary_columns`); what the frame lacks is left out. `<quality>_std` is the sample standard deviation
    over seeds, NaN where there is one. Units are in the names; shares are fractions.

    Where runs failed (`frame.attrs["failed"]`), `n_failed` counts them: the means of such a row are of the seeds that
    are left, and no fair comparison with the other rows. Where rounds ended early, `<axis>_reached` follows its axis.
    `verdict/<engine>` says how much of a point's promised speed-up is real (`nominal.verdict_of`). Named controls are
    rows as others. ValueError when an axis is not there or the frame mixes qualities.

    >>> runs = pd.DataFrame(
    ...     {"point": ["prune=0.5", "prune=0.5", "reference"], "prune": [0.5, 0.5, 0.0], "seed": [0, 1, 0],
    ...      "reference": [False, False, True], "accuracy": [0.93, 0.95, 0.96]})
    >>> points_table(runs, axes=["prune"])
       prune  n_seeds  accuracy  accuracy_std
    0    0.0        1      0.96           NaN
    1    0.5        2      0.94      0.014142
    """
    for axis in axes:
        if axis not in frame.columns:
            raise ValueError(f"no axis column {axis!r}; the frame has {sorted(map(str, frame.columns))}")
    averages = average_runs(frame)
    for axis in axes:
        if axis not in averages.means.columns or (
            axis in averages.deviations and (averages.deviations[axis] > 0).any()
        ):
            raise ValueError(f"{axis!r} is no axis: it differs between runs of one point")
    points = averages.means.assign(n_seeds=averages.n_runs)
    failed = failed_seeds(frame)
    if failed and "point" in points.columns:
        points["n_failed"] = [len(failed.get(str(label), ())) for label in points["point"]]
    quality = Quality.of_frame(frame)
    deviation = f"{quality.name}_std"
    if quality.name in averages.deviations.columns:
        points[deviation] = averages.deviations[quality.name]
    reached = axes_in_rounds(frame) if ended_early(frame).any() else []
    named = [name for axis in axes for name in ([axis, f"{axis}_reached"] if axis in reached else [axis])]
    timings = [str(name) for name in points.columns if str(name).startswith(_TIMES)]
    real = verdicts(frame)
    first_runs = [int(np.argmax(averages.point_of_run == number)) for number in range(len(points))]
    for name in real.columns:
        points[name] = real[name].to_numpy()[first_runs]
    on_engines = [str(name) for name in points.columns if str(name).startswith(f"{quality.name}/")]
    qualities = (quality.name, deviation, quality.column)
    secondary = secondary_columns(frame, quality)
    order = dict.fromkeys(
        (*named, "n_seeds", "n_failed", *qualities, *_COSTS, *timings, *on_engines, *real.columns, *secondary)
    )
    names = [name for name in order if name in points.columns]
    return points.iloc[_table_order(points, axes)][names].reset_index(drop=True)


def _table_order(points: pd.DataFrame, axes: Sequence[str]) -> NDArray[np.int64]:
    groups = group_columns(axes)
    keys: list[NDArray[np.int64] | NDArray[np.float64]] = [codes_of(points[name]) for name in groups]
    keys.append((~marked_references(points)).astype(np.int64))
    for axis in [axis for axis in axes if axis not in groups]:
        numbers = parse_numbers(points[axis])
        keys.append(codes_of(points[axis]) if numbers is None else numbers)
    # What no axis tells apart still comes in one order, whatever that of the rows.
    keys += [codes_of(points[name]) for name in sorted(map(str, points.columns)) if name not in axes]
    return np.lexsort(keys[::-1])
