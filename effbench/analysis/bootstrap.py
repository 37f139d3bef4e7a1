"""How firm a saturation point is: the same choice on examples, and seeds, drawn anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis.curve import Curve

LEVEL = 0.95
N_RESAMPLES = 1000
_BLOCK = 100
"""Resamples that are averaged at once."""

Correctness = Mapping[str, NDArray[np.bool_]]
"""By run key: which examples the run had right, (n_examples,) in the one order of the split."""


def resampled_qualities(
    frame: pd.DataFrame, curve: Curve, correct: Correctness, /, *, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> NDArray[np.float64]:
    """Return the qualities that the points of a curve would have on examples drawn anew: (n_resamples, n_points).

    Paired bootstrap (Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 6): each resample draws as many
    examples, with replacement, as there are, the same for every run; and, where every point has the same several seeds,
    as many of these, the same for every point. So what points have in common cancels in their differences.

    frame: the rows that the curve was made of, with a `run_key`. ValueError, which names a run, where its correctness
    is missing, of another length than the others', or not that of the curve's quality.
    """
    bits = _bits_of(frame, curve, correct)
    n_runs, n_examples = bits.shape
    right, counts = bits.T.astype(np.float32), _example_counts(n_examples, n_resamples, seed)
    # Exact in float32: counts of examples are far below 2^24.
    blocks = [counts[start : start + _BLOCK].astype(np.float32) @ right for start in range(0, n_resamples, _BLOCK)]
    accuracies = np.concatenate(blocks).astype(np.float64) / n_examples
    seeds = _common_seeds(frame, curve)
    shares = np.ones((n_resamples, n_runs)) if seeds is None else _seed_counts(seeds, n_resamples, seed)
    return _average(accuracies, shares, curve)


def interval_of(values: NDArray[np.float64], /, *, level: float = LEVEL) -> tuple[float, float]:
    """Return the range from which an equal share of resampled values is cut off at both ends; its ends are values."""
    cut = (1 - level) / 2
    low, high = np.quantile(values, [cut, 1 - cut], method="inverted_cdf")
    return float(low), float(high)


def _bits_of(frame: pd.DataFrame, curve: Curve, correct: Correctness) -> NDArray[np.bool_]:
    """Return the correctness of each row's run, (n_runs, n_examples)."""
    if "run_key" not in frame.columns:
        raise ValueError("correctness is known by run_key, and the frame has no such column")
    rows = list(_rows_of(frame, correct))
    for key, bits, quality in zip(frame["run_key"], rows, frame[curve.quality], strict=True):
        if len(bits) != len(rows[0]):
            raise ValueError(f"run {key} has the correctness of {len(bits)} examples, the first one {len(rows[0])}")
        if abs(float(np.mean(bits)) - float(quality)) > 1e-6:
            raise ValueError(
                f"run {key}: {curve.quality} is {float(quality):.6g}, its correctness says {np.mean(bits):.6g}: "
                "that of another split or of another run"
            )
    return np.stack(rows)


def _rows_of(frame: pd.DataFrame, correct: Correctness) -> Iterator[NDArray[np.bool_]]:
    for key in frame["run_key"]:
        if key not in correct:
            raise ValueError(f"run {key}: there is no correctness of it")
        yield np.asarray(correct[key], dtype=bool)


@lru_cache(maxsize=1)
def _example_counts(n_examples: int, n_resamples: int, seed: int) -> NDArray[np.uint8]:
    """Return how often each example is drawn: (n_resamples, n_examples). Kept for the next cost of the same runs."""
    generator = np.random.default_rng((seed, 0))
    counts = np.empty((n_resamples, n_examples), dtype=np.uint8)
    for row in counts:
        drawn = np.bincount(generator.integers(0, n_examples, n_examples, dtype=np.int32), minlength=n_examples)
        row[:] = np.minimum(drawn, 255)  # never in practice: the mean is 1
    return counts


def _common_seeds(frame: pd.DataFrame, curve: Curve) -> NDArray[np.int64] | None:
    """Return the number of each run's seed, (n_runs,), where all points have the same ones, each once; else None."""
    if "seed" not in frame.columns or frame["seed"].isna().any():
        return None
    seeds, numbers = np.unique(frame["seed"].to_numpy(), return_inverse=True)
    once = np.zeros((len(curve), len(seeds)), dtype=np.int64)
    np.add.at(once, (curve.row_of_run, numbers), 1)
    return np.asarray(numbers, dtype=np.int64) if len(seeds) > 1 and (once == 1).all() else None


def _seed_counts(seeds: NDArray[np.int64], n_resamples: int, seed: int) -> NDArray[np.float64]:
    """Return how often the seed of each run is drawn: (n_resamples, n_runs)."""
    n_seeds = int(seeds.max()) + 1
    drawn = np.random.default_rng((seed, 1)).multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=n_resamples)
    return drawn[:, seeds].astype(np.float64)


def _average(accuracies: NDArray[np.float64], shares: NDArray[np.float64], curve: Curve) -> NDArray[np.float64]:
    """Return the weighted means over the runs of each point: (n_resamples, n_points)."""
    belongs = np.zeros((accuracies.shape[1], len(curve)))
    belongs[np.arange(accuracies.shape[1]), curve.row_of_run] = 1
    return np.asarray((accuracies * shares) @ belongs / (shares @ belongs), dtype=np.float64)
