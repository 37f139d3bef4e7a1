"""How firm a saturation point is: what points would lose on other examples, with other seeds."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import DTypeLike, NDArray

from effbench.analysis.curves.counts import Counts, quality_from_sums
from effbench.analysis.curves.curve import Curve
from effbench.analysis.uncertainty.seed_noise import SeedNoise
from effbench.analysis.uncertainty.student import LEVEL

N_RESAMPLES = 1000
_BLOCK = 100
"""Resamples that are summed at once."""
_EXACT_IN_FLOAT32 = 2**24
_CLOSENESS = 1e-6
"""By how much, as a share of values above 1, a logged quality may differ from that of the counts."""


def resampled_losses(
    curve: Curve,
    counts: Counts,
    /,
    *,
    column: str | None = None,
    only: int | None = None,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return what the points of a curve would lose against their references on other examples, with other seeds.

    Examples: paired bootstrap (Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 6). Each resample
    draws as many examples, with replacement, as there are, the same for every run, so that what runs have in common
    cancels in their differences. Seeds, of those that a point and its reference both have: a loss's mean over n seeds
    is moved by Student's t with n - 1 degrees of freedom times its standard error, for all points by the same draws, so
    that points whose losses go up and down together stay together. Few seeds drawn with replacement, as in an ordinary
    bootstrap, would vary far too little (ibid., section 14.3). What seeds do not share of the error of sampling is in
    their spread already, and is taken out of that of the examples. With one seed, or unknown ones, only examples are
    drawn. As in the curve, a loss is negative where a point is better. Resamples in which a loss is undefined (no
    example drawn has a denominator) are left out.

    column: of the runs, of which the counts are; None: the curve's quality. only: one row; the others' losses are 0
    then. Returns (n_resamples, n_points).
    ValueError, which names a run, where its counts are missing, of another shape than the others', or not those of the
    column.
    """
    name = curve.quality_column if column is None else column
    points = range(len(curve)) if only is None else (only,)
    pairs = curve.pairs
    used = np.union1d(
        pairs.runs[np.isin(pairs.points, points)], pairs.reference_runs[np.isin(pairs.compared_points, points)]
    )
    qualities = np.full((n_resamples, len(curve.runs)), np.nan)
    qualities[:, used] = resampled_qualities(curve.runs.iloc[used], name, counts, n_resamples=n_resamples, seed=seed)
    values = np.asarray(curve.runs[name], dtype=np.float64)
    losses = np.zeros((n_resamples, len(curve)))
    seeds = SeedNoise(curve, name, n_resamples=n_resamples, seed=seed)
    with np.errstate(invalid="ignore"):  # infinite ones make their whole resample NaN, which leaves it out
        for point in points:
            own = curve.pairs.runs[curve.pairs.points == point]
            reference = curve.pairs.reference_runs[curve.pairs.compared_points == point]
            if curve.pairs.is_paired:
                drawn = curve.sign * (qualities[:, reference] - qualities[:, own])
                losses[:, point] = seeds.moved(drawn, curve.sign * (values[reference] - values[own]), own, reference)
            else:
                losses[:, point] = curve.sign * (qualities[:, reference].mean(axis=1) - qualities[:, own].mean(axis=1))
    defined = np.isfinite(losses).all(axis=1)
    if not defined.any():
        raise ValueError(f"{name} is defined in no resample: too few examples have a denominator")
    return np.asarray(losses[defined], dtype=np.float64)


def resampled_qualities(
    runs: pd.DataFrame, column: str, counts: Counts, /, *, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> NDArray[np.float64]:
    """Return the quality of each run on examples drawn anew, the same for all: (n_resamples, n_runs).

    NaN where no example drawn has a denominator. runs: with a `run_key`, and the quality in `column`. ValueError as for
    `resampled_losses`.
    """
    table = _table_of(runs, column, counts)
    n_examples, n_runs = table.shape[:2]
    dtype = _exact_dtype(table)
    columns, draws = table.reshape(n_examples, -1).astype(dtype), draws_of(n_examples, n_resamples, seed)
    qualities = np.empty((n_resamples, n_runs))
    for start in range(0, n_resamples, _BLOCK):
        sums = draws[start : start + _BLOCK].astype(dtype) @ columns
        qualities[start : start + _BLOCK] = quality_from_sums(sums.reshape(-1, *table.shape[1:]), counts.kind)
    return qualities


def interval_of(values: NDArray[np.float64], /, *, level: float = LEVEL) -> tuple[float, float]:
    """Return the range from which an equal share of resampled values is cut off at both ends; its ends are values."""
    cut = (1 - level) / 2
    low, high = np.quantile(values, [cut, 1 - cut], method="inverted_cdf")
    return float(low), float(high)


def _table_of(frame: pd.DataFrame, column: str, counts: Counts) -> NDArray[Any]:
    """Return the counts of each row's run: (n_examples, n_runs, n_ratios, 2)."""
    if "run_key" not in frame.columns:
        raise ValueError("counts are known by run_key, and the frame has no such column")
    arrays: list[NDArray[Any]] = []
    for key, logged in zip(frame["run_key"], frame[column].astype(float), strict=True):
        if key not in counts.by_run:
            raise ValueError(f"run {key}: there are no counts of it")
        arrays.append(np.asarray(counts.by_run[key]))
        if arrays[-1].shape != arrays[0].shape:
            n_examples, n_ratios = arrays[-1].shape[:2]
            raise ValueError(
                f"run {key} has the counts of {n_examples} examples and {n_ratios} ratios, the first one of "
                f"{arrays[0].shape[0]} and {arrays[0].shape[1]}: all are to be evaluated on the same examples"
            )
        counted = counts.quality_of(key)
        if not abs(counted - logged) <= _CLOSENESS * max(1.0, abs(logged)):
            raise ValueError(
                f"run {key}: {column} is {logged:.6g}, its counts say {counted:.6g}: "
                "those of another split or of another run"
            )
    return np.stack(arrays, axis=1)


def _exact_dtype(table: NDArray[Any]) -> DTypeLike:
    """Return float32 where it holds every sum of a resample exactly, which is the quicker one, else float64."""
    if table.dtype.kind == "f" and not (table == np.rint(table)).all():
        return np.float64
    largest = max(float(table.max()), -float(table.min()))
    return np.float32 if len(table) * largest < _EXACT_IN_FLOAT32 else np.float64


@lru_cache(maxsize=1)
def draws_of(n_examples: int, n_resamples: int, seed: int) -> NDArray[np.uint8]:
    """Return how often each example is drawn: (n_resamples, n_examples). Kept for the next cost of the same runs."""
    generator = np.random.default_rng((seed, 0))
    draws = np.empty((n_resamples, n_examples), dtype=np.uint8)
    for row in draws:
        drawn = np.bincount(generator.integers(0, n_examples, n_examples, dtype=np.int32), minlength=n_examples)
        row[:] = np.minimum(drawn, 255)  # never in practice: the mean is 1
    return draws
