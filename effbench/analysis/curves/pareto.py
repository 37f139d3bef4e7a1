"""The Pareto front: the points that no other point beats."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis.curves.averages import point_numbers
from effbench.analysis.curves.costs import chosen_cost
from effbench.analysis.curves.curve import Curve, curve_of
from effbench.analysis.curves.groups import select_group, split_groups
from effbench.analysis.curves.quality import Quality


def pareto_front(
    frame: pd.DataFrame, *, cost: str | None = None, quality: str | None = None, model: str | None = None
) -> pd.DataFrame:
    """Return the points that no other point beats: none is as cheap and as good, and better in one of the two.

    Parameters
    ----------
    frame
        One row per run, in any order. Runs with the same `point` are averaged over their seeds first; where one lacks
        seeds of its reference, its cost and quality are put where they stand against the reference on the seeds of
        both. Named controls (`control`) are left out.
    cost
        Column that is better when lower; None takes the first of size_bytes, macs_effective, macs, latency that varies.
    quality
        Column of the quality; None takes the frame's own (`quality_name`, else accuracy) on the validation split. A
        column of anything else is better when higher.
    model
        The network, where the frame has several with references of their own.

    Returns
    -------
    pandas.DataFrame
        One row per point of the front, by cost ascending, and so from the worst quality to the best. Of points that
        are equal in both, one stays: the reference, else the first by its other columns.

    Raises
    ------
    ValueError
        A column is missing or not finite (the message names it and the row), or the frame has several groups
        (`split_groups`) or qualities.

    Notes
    -----
    Non-dominance by moocore's O(n log n) sweep (Kung, Luccio and Preparata 1975, J. ACM 22(4)).

    Examples
    --------
    >>> runs = pd.DataFrame({"size_bytes": [400, 300, 200, 100], "accuracy_val": [0.95, 0.90, 0.94, 0.80]})
    >>> pareto_front(runs)
       size_bytes  accuracy_val
    0       100.0          0.80
    1       200.0          0.94
    2       400.0          0.95
    """
    runs = select_group(frame, model=model)
    curve = curve_of(runs, cost=chosen_cost(runs, cost), quality=quality)
    return curve.points.iloc[front_rows(curve)].reset_index(drop=True)


def undominated(frame: pd.DataFrame, /, *, costs: Sequence[str]) -> NDArray[np.bool_]:
    """Return which runs are of points that no other point beats in quality and all of these costs together: (n_rows,).

    frame: one row per run, of one network, data set and task or of several, which are not compared with each other. The
    quality is the frame's own on the validation split. Seeds are averaged; costs that are not there do not count.

    >>> runs = pd.DataFrame({"point": ["reference", "a", "b"], "size_bytes": [4, 3, 3], "macs": [9, 5, 6],
    ...     "accuracy_val": [0.9, 0.8, 0.7]})
    >>> undominated(runs, costs=["size_bytes", "macs"]).tolist()
    [True, True, False]
    """
    import moocore

    marked = np.zeros(len(frame), dtype=bool)
    for runs in split_groups(frame.reset_index(drop=True)).values():
        quality = Quality.of_frame(runs)
        numbers = point_numbers(runs)
        there = [cost for cost in costs if cost in runs.columns]
        means = np.array(runs[[quality.column, *there]].astype(float).groupby(numbers).mean())
        means[:, 0] *= -1 if quality.direction == "higher" else 1
        best = np.isfinite(means).all(axis=1)  # what is not known beats nothing
        best[best] = moocore.is_nondominated(means[best], keep_weakly=True) if best.any() else True
        marked[runs.index.to_numpy()] = best[numbers]
    return marked


def front_rows(curve: Curve, /) -> NDArray[np.int64]:
    """Return the rows of a curve that are on its front, ascending in cost: (n_front,)."""
    return front_of(curve.costs, curve.qualities)


def front_of(costs: NDArray[np.float64], qualities: NDArray[np.float64], /) -> NDArray[np.int64]:
    """Return which points are on the front, ascending in cost; higher qualities are better, costs ascend: (n_front,).

    Of equal points the first one stays.
    """
    if len(costs) == 0:
        return np.zeros(0, dtype=np.int64)
    import moocore

    objectives = np.column_stack([costs, -qualities])
    # The given order decides which of equal points stays, not the library's version.
    order = np.lexsort([objectives[:, 1], costs])
    ordered = objectives[order]
    repeated = np.r_[False, (ordered[1:] == ordered[:-1]).all(axis=1)]
    distinct = order[~repeated]
    return np.asarray(distinct[moocore.is_nondominated(objectives[distinct])], dtype=np.int64)
