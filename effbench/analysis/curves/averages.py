"""From runs to operating points: the one place where seeds are averaged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis.curves.columns import codes_of, metric_columns, parse_numbers, read_flags, row_name
from effbench.analysis.curves.quality import Quality

# Runs are seeds of one point when they agree in all of these. Every network and recipe has its own "reference".
POINT_KEYS = ("point", "model", "data", "task", "recipe", "reference")
_FLAGS = ("reference", "control")


@dataclass(frozen=True, kw_only=True, eq=False)
class Averages:
    """Operating points: runs averaged over their seeds. All three have one entry per point, in the same order."""

    means: pd.DataFrame
    """(n_points, ...). What the runs of every point share is kept, numbers that differ averaged, the rest dropped."""

    deviations: pd.DataFrame
    """(n_points, ...) sample standard deviations of the numeric columns; NaN where a point has one run."""

    n_runs: NDArray[np.int64]
    """(n_points,) runs of each point."""

    point_of_run: NDArray[np.int64]
    """(n_rows,) the point of each row of the frame."""


def average_runs(frame: pd.DataFrame, /) -> Averages:
    """Average over seeds: runs with the same `point` (and model, data, task and recipe); without it each row is alone.

    An average is NaN where one of its runs has no value. ValueError when the frame mixes qualities, a label is missing,
    or a point has two runs of one seed: they differ in something that the label does not say.
    """
    runs = read_runs(frame)
    return average_groups(runs, point_numbers(runs))


def read_runs(frame: pd.DataFrame, /) -> pd.DataFrame:
    """Return the runs with rows numbered from 0, metrics that a CSV gave as text as numbers, and flags as flags.

    ValueError when the frame mixes qualities, a label is missing, or a flag is none.
    """
    Quality.of_frame(frame)  # refuses a mixture
    for row in np.flatnonzero(frame["point"].isna()) if "point" in frame.columns else ():
        raise ValueError(f"point is missing in {row_name(frame, int(row))}")
    runs = frame.reset_index(drop=True)
    for name in metric_columns(frame):
        numbers = parse_numbers(runs[name])
        if numbers is not None and not pd.api.types.is_numeric_dtype(runs[name].dtype):
            runs[name] = numbers
    for name in _FLAGS:
        if name in runs.columns:
            runs[name] = read_flags(frame, name)
    return runs


def point_numbers(runs: pd.DataFrame, /) -> NDArray[np.int64]:
    """Return the number of each run's point, 0 ... n_points - 1: (n_runs,). ValueError for two runs of one seed."""
    if "point" not in runs.columns:
        return np.arange(len(runs))
    keys = pd.DataFrame({name: codes_of(runs[name]) for name in POINT_KEYS if name in runs.columns})
    if "run_key" in runs.columns:
        again = keys.assign(run_key=runs["run_key"]).duplicated() & runs["run_key"].notna()
        again &= runs["seed"].isna() if "seed" in runs.columns else True  # of known seeds the seed is what is named
        for row in np.flatnonzero(again.to_numpy()):
            raise ValueError(f"{runs['point'][row]!r} has two rows of run {runs['run_key'][row]}: keep one of them")
    if "seed" in runs.columns:
        for row in np.flatnonzero((keys.assign(seed=runs["seed"]).duplicated() & runs["seed"].notna()).to_numpy()):
            point, seed = runs["point"][row], runs["seed"][row]
            raise ValueError(f"{point!r} has two runs of seed {seed}: select one sweep, or give them different labels")
    return np.asarray(keys.groupby(list(keys.columns)).ngroup(), dtype=np.int64)


def average_groups(runs: pd.DataFrame, groups: NDArray[np.int64], /) -> Averages:
    """Average the runs of each group: groups (n_runs,), 0 ... n_groups - 1, none empty."""
    if len(np.unique(groups)) == len(groups):
        means = runs.iloc[np.argsort(groups)].reset_index(drop=True)
        numeric = [name for name in runs.columns if parse_numbers(runs[name]) is not None]
        missing = pd.DataFrame(np.nan, index=means.index, columns=numeric)
        return Averages(means=means, deviations=missing, n_runs=np.ones(len(runs), dtype=np.int64), point_of_run=groups)
    _, first, n_runs = np.unique(groups, return_index=True, return_counts=True)
    averaged: dict[str, pd.Series | NDArray[np.float64]] = {}
    deviations: dict[str, NDArray[np.float64]] = {}
    for name in runs.columns:
        numbers = parse_numbers(runs[name])
        if _constant_within(codes_of(runs[name]), groups):
            averaged[name] = runs[name].iloc[first].reset_index(drop=True)
        elif numbers is None or name == "seed":
            continue  # run names and dates have no mean; the mean of seeds would say nothing
        if numbers is not None:
            mean, deviations[name] = mean_and_deviation(numbers, groups)
            averaged.setdefault(name, mean)
    return Averages(
        means=pd.DataFrame(averaged), deviations=pd.DataFrame(deviations), n_runs=n_runs, point_of_run=groups
    )


def mean_and_deviation(
    numbers: NDArray[np.float64], groups: NDArray[np.int64], /
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and sample deviation per group: (n_groups,) each, the same to the last bit in whatever order the rows come.

    Sums run over sorted values, from the smallest on, so that the mean of equal values is that value exactly.
    """
    if len(numbers) == 0:
        return numbers, numbers
    ordered = numbers[np.lexsort((numbers, groups))]
    _, starts, counts = np.unique(np.sort(groups), return_index=True, return_counts=True)
    lowest = ordered[starts]
    with np.errstate(invalid="ignore", over="ignore"):
        above = np.add.reduceat(ordered - np.repeat(lowest, counts), starts)
        mean = lowest + above / counts
        squares = np.add.reduceat((ordered - np.repeat(mean, counts)) ** 2, starts)
    deviation = np.full(len(counts), np.nan)
    np.divide(squares, counts - 1, out=deviation, where=counts > 1)
    return mean, np.sqrt(deviation)


def _constant_within(codes: NDArray[np.int64], groups: NDArray[np.int64]) -> bool:
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return bool((codes == codes[first][inverse]).all())
