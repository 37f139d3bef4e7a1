"""How firm a saturation point is: the same choice on examples, and seeds, drawn anew."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import DTypeLike, NDArray

from effbench.analysis.counts import Counts, quality_from_sums
from effbench.analysis.curve import Curve

LEVEL = 0.95
N_RESAMPLES = 1000
_BLOCK = 100
"""Resamples that are summed at once."""
_EXACT_IN_FLOAT32 = 2**24
_CLOSENESS = 1e-6
"""By how much, as a share of values above 1, a logged quality may differ from that of the counts."""


def resampled_qualities(
    frame: pd.DataFrame, curve: Curve, counts: Counts, /, *, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> NDArray[np.float64]:
    """Return the qualities that the points of a curve would have on examples drawn anew: (n_resamples, n_points).

    Paired bootstrap (Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 6): each resample draws as many
    examples, with replacement, as there are, the same for every run; and, where every point has the same several seeds,
    as many of these, the same for every point. So what points have in common cancels in their differences. As in the
    curve, higher is better. Resamples in which a quality is undefined (no example drawn has a denominator) are left
    out.

    frame: the rows that the curve was made of, with a `run_key`. ValueError, which names a run, where its counts are
    missing, of another shape than the others', or not those of the curve's quality.
    """
    table = _table_of(frame, curve, counts)
    n_examples, n_runs = table.shape[:2]
    dtype = _exact_dtype(table)
    columns, draws = table.reshape(n_examples, -1).astype(dtype), _draws(n_examples, n_resamples, seed)
    qualities = np.empty((n_resamples, n_runs))
    for start in range(0, n_resamples, _BLOCK):
        sums = draws[start : start + _BLOCK].astype(dtype) @ columns
        qualities[start : start + _BLOCK] = quality_from_sums(sums.reshape(-1, *table.shape[1:]), counts.kind)
    seeds = _common_seeds(frame, curve)
    weights = np.ones((n_resamples, n_runs)) if seeds is None else _seed_draws(seeds, n_resamples, seed)
    averages = curve.sign * _average(qualities, weights, curve)
    defined = np.isfinite(averages).all(axis=1)
    if not defined.any():
        raise ValueError(f"{curve.quality_column} is defined in no resample: too few examples have a denominator")
    return np.asarray(averages[defined], dtype=np.float64)


def interval_of(values: NDArray[np.float64], /, *, level: float = LEVEL) -> tuple[float, float]:
    """Return the range from which an equal share of resampled values is cut off at both ends; its ends are values."""
    cut = (1 - level) / 2
    low, high = np.quantile(values, [cut, 1 - cut], method="inverted_cdf")
    return float(low), float(high)


def _table_of(frame: pd.DataFrame, curve: Curve, counts: Counts) -> NDArray[Any]:
    """Return the counts of each row's run: (n_examples, n_runs, n_ratios, 2)."""
    if "run_key" not in frame.columns:
        raise ValueError("counts are known by run_key, and the frame has no such column")
    arrays: list[NDArray[Any]] = []
    for key, logged in zip(frame["run_key"], frame[curve.quality_column].astype(float), strict=True):
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
                f"run {key}: {curve.quality_column} is {logged:.6g}, its counts say {counted:.6g}: "
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
def _draws(n_examples: int, n_resamples: int, seed: int) -> NDArray[np.uint8]:
    """Return how often each example is drawn: (n_resamples, n_examples). Kept for the next cost of the same runs."""
    generator = np.random.default_rng((seed, 0))
    draws = np.empty((n_resamples, n_examples), dtype=np.uint8)
    for row in draws:
        drawn = np.bincount(generator.integers(0, n_examples, n_examples, dtype=np.int32), minlength=n_examples)
        row[:] = np.minimum(drawn, 255)  # never in practice: the mean is 1
    return draws


def _common_seeds(frame: pd.DataFrame, curve: Curve) -> NDArray[np.int64] | None:
    """Return the number of each run's seed, (n_runs,), where all points have the same ones, each once; else None."""
    if "seed" not in frame.columns or frame["seed"].isna().any():
        return None
    seeds, numbers = np.unique(frame["seed"].to_numpy(), return_inverse=True)
    occurrences = np.zeros((len(curve), len(seeds)), dtype=np.int64)
    np.add.at(occurrences, (curve.row_of_run, numbers), 1)
    return np.asarray(numbers, dtype=np.int64) if len(seeds) > 1 and (occurrences == 1).all() else None


def _seed_draws(seeds: NDArray[np.int64], n_resamples: int, seed: int) -> NDArray[np.float64]:
    """Return how often the seed of each run is drawn: (n_resamples, n_runs)."""
    n_seeds = int(seeds.max()) + 1
    drawn = np.random.default_rng((seed, 1)).multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=n_resamples)
    return drawn[:, seeds].astype(np.float64)


def _average(qualities: NDArray[np.float64], weights: NDArray[np.float64], curve: Curve) -> NDArray[np.float64]:
    """Return the weighted means over the runs of each point: (n_resamples, n_points)."""
    membership = np.zeros((qualities.shape[1], len(curve)))
    membership[np.arange(qualities.shape[1]), curve.row_of_run] = 1
    with np.errstate(invalid="ignore"):  # infinite ones make their whole resample NaN, which leaves it out
        return np.asarray((qualities * weights) @ membership / (weights @ membership), dtype=np.float64)
