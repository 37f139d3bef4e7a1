"""How firm a saturation point is: the same choice on examples, and seeds, drawn anew."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import DTypeLike, NDArray

from effbench.analysis.columns import codes_of
from effbench.analysis.counts import Counts, quality_from_sums
from effbench.analysis.curve import Curve

LEVEL = 0.95
N_RESAMPLES = 1000
_BLOCK = 100
"""Resamples that are summed at once."""
_EXACT_IN_FLOAT32 = 2**24
_CLOSENESS = 1e-6
"""By how much, as a share of values above 1, a logged quality may differ from that of the counts."""


def resampled_losses(
    curve: Curve, counts: Counts, /, *, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> NDArray[np.float64]:
    """Return what the points of a curve would lose against their references on examples drawn anew.

    Paired bootstrap (Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 6): each resample draws as many
    examples, with replacement, as there are, the same for every run; and of the seeds that a point and its reference
    both have as many as these are, the same for both, and for all points that have the same ones. So what points have
    in common cancels in their differences. With one seed, or unknown ones, only examples are drawn. As in the curve, a
    loss is negative where a point is better. Resamples in which a loss is undefined (no example drawn has a
    denominator) are left out.

    Returns (n_resamples, n_points). ValueError, which names a run, where its counts are missing, of another shape than
    the others', or not those of the curve's quality.
    """
    used = np.union1d(curve.pairs.runs, curve.pairs.reference_runs)
    qualities = np.full((n_resamples, len(curve.runs)), np.nan)
    qualities[:, used] = resampled_qualities(
        curve.runs.iloc[used], curve.quality_column, counts, n_resamples=n_resamples, seed=seed
    )
    losses = np.empty((n_resamples, len(curve)))
    drawn_seeds = _SeedDraws(curve, n_resamples, seed)
    with np.errstate(invalid="ignore"):  # infinite ones make their whole resample NaN, which leaves it out
        for point in range(len(curve)):
            own = curve.pairs.runs[curve.pairs.points == point]
            reference = curve.pairs.reference_runs[curve.pairs.compared_points == point]
            weights = drawn_seeds.of(own, reference) if curve.pairs.is_paired else None
            means = (_weighted_mean(qualities[:, rows], weights) for rows in (reference, own))
            losses[:, point] = curve.sign * np.subtract(*means)
    defined = np.isfinite(losses).all(axis=1)
    if not defined.any():
        raise ValueError(f"{curve.quality_column} is defined in no resample: too few examples have a denominator")
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
    columns, draws = table.reshape(n_examples, -1).astype(dtype), _draws(n_examples, n_resamples, seed)
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
def _draws(n_examples: int, n_resamples: int, seed: int) -> NDArray[np.uint8]:
    """Return how often each example is drawn: (n_resamples, n_examples). Kept for the next cost of the same runs."""
    generator = np.random.default_rng((seed, 0))
    draws = np.empty((n_resamples, n_examples), dtype=np.uint8)
    for row in draws:
        drawn = np.bincount(generator.integers(0, n_examples, n_examples, dtype=np.int32), minlength=n_examples)
        row[:] = np.minimum(drawn, 255)  # never in practice: the mean is 1
    return draws


class _SeedDraws:
    """How often each seed is drawn in each resample: once for each set of seeds that a point has."""

    def __init__(self, curve: Curve, n_resamples: int, seed: int) -> None:
        has_seeds = "seed" in curve.runs.columns and not curve.runs["seed"].isna().any()
        self._seeds = codes_of(curve.runs["seed"]) if has_seeds else None
        self._n_resamples, self._seed = n_resamples, seed
        self._kept: dict[tuple[int, ...], NDArray[np.float64]] = {}

    def of(self, runs: NDArray[np.int64], reference_runs: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return how often the seed of each of a point's runs is drawn: (n_resamples, n_runs).

        Where no seeds are known, the references' runs tell them apart.
        """
        names, positions = np.unique(reference_runs if self._seeds is None else self._seeds[runs], return_inverse=True)
        key = tuple(names.tolist())
        if key not in self._kept:
            is_all = self._seeds is not None and len(key) == len(np.unique(self._seeds))
            generator = np.random.default_rng((self._seed, 1) if is_all else (self._seed, 1, *key))
            drawn = generator.multinomial(len(key), np.full(len(key), 1 / len(key)), size=self._n_resamples)
            self._kept[key] = drawn.astype(np.float64)
        return self._kept[key][:, positions]


def _weighted_mean(qualities: NDArray[np.float64], weights: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return the means over runs, (n_resamples,): qualities and weights (n_resamples, n_runs)."""
    if weights is None:
        return np.asarray(qualities.mean(axis=1), dtype=np.float64)
    return np.asarray((qualities * weights).sum(axis=1) / weights.sum(axis=1), dtype=np.float64)
