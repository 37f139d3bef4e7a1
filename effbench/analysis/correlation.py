"""Does the time grow with what is counted? Rank correlations of latencies with parameters, multiply-adds and bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis.curves.averages import average_runs
from effbench.analysis.curves.columns import parse_numbers
from effbench.analysis.curves.costs import cost_words
from effbench.analysis.curves.jitter import LATENCY

COUNTED = ("params", "macs", "size_bytes")
"""What can be known of a network without running it."""
LEAST_POINTS = 5
"""Of fewer networks the interval holds nearly everything."""
_FISHER = 1.06  # of Spearman's coefficient: Fieller, Hartley & Pearson 1957
_NORMAL = 1.959964


def rank_correlations(frame: pd.DataFrame, /, *, counted: Sequence[str] = COUNTED) -> pd.DataFrame:
    """Correlate the ranks of networks by latency with those by what is counted (Spearman's coefficient).

    frame: one row per run; seeds of one point are averaged, points without a latency left out. Returns a row for each
    latency column and count: `latency`, `counted`, `side` (the one that most points have: those alone are compared;
    empty: all), `n_points`, `correlation` and its approximate 95 % interval `low`, `high` (Fisher's transformation with
    the variance 1.06 / (n - 3) of Fieller, Hartley & Pearson 1957, Biometrika 44). Of fewer than five points, and where
    all are equal, there is no row. Where networks ran at several sides, all are compared, then those of the main one.

    >>> runs = pd.DataFrame({"point": list("abcde"), "latency_ms/eager": [1, 2, 3, 5, 4], "macs": [10, 20, 30, 40, 50]})
    >>> rank_correlations(runs)[["counted", "n_points", "correlation"]].values.tolist()
    [['macs', 5, 0.9]]
    """
    means = average_runs(frame).means if len(frame) else frame
    sides: list[str] = [""]
    if "side" in means.columns and means["side"].nunique() > 1:
        sides.append(str(means["side"].mode().iloc[0]))
    rows = []
    for latency in (str(name) for name in means.columns if str(name).startswith(LATENCY)):
        for side in sides:
            chosen = means if not side else means[means["side"].astype(str) == side]
            for name in counted:
                pair = _finite(chosen, latency, name)
                coefficient = _spearman(pair) if len(pair) >= LEAST_POINTS else math.nan
                if not math.isnan(coefficient):
                    low, high = _interval(coefficient, len(pair))
                    rows.append((latency, name, side, len(pair), coefficient, low, high))
    return pd.DataFrame(rows, columns=["latency", "counted", "side", "n_points", "correlation", "low", "high"])


def correlation_sentences(frame: pd.DataFrame, /) -> list[str]:
    """Say for each latency how its ranks follow those of what is counted, one line for each set of networks.

    >>> runs = pd.DataFrame({"point": list("abcde"), "latency_ms/eager": [1, 2, 3, 5, 4], "macs": [10, 20, 30, 40, 50]})
    >>> correlation_sentences(runs)
    ['latency_ms/eager, ranks of 5 networks: follows multiply-adds 0.90 (95 %: 0.05 to 0.99)']
    """
    lines = []
    for (latency, side), group in rank_correlations(frame).groupby(["latency", "side"], sort=False):
        n_points = int(group["n_points"].max())
        which = f"ranks of {n_points} networks" + (f" at side {side}" if side else "")
        told = [
            f"{cost_words(str(row.counted)).title} {row.correlation:.2f} (95 %: {row.low:.2f} to {row.high:.2f})"
            for row in group.itertuples()
        ]
        lines.append(f"{latency}, {which}: follows {', '.join(told)}")
    return lines


def _finite(frame: pd.DataFrame, *names: str) -> NDArray[np.float64]:
    """Return the rows that have numbers in all columns, (n_rows, n_names); none where a column is missing."""
    columns = [parse_numbers(frame[name]) if name in frame.columns else None for name in names]
    if any(column is None for column in columns):
        return np.empty((0, len(names)))
    values = np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)
    return values[np.isfinite(values).all(axis=1)]


def _spearman(pair: NDArray[np.float64]) -> float:
    """Return the correlation of the ranks of (n_rows, 2), ties at their mean rank; NaN where a column is constant."""
    ranks = pd.DataFrame(pair).rank()
    if (ranks.nunique() < 2).any():
        return math.nan
    return round(float(ranks.corr().to_numpy()[0, 1]), 12)


def _interval(coefficient: float, n_points: int) -> tuple[float, float]:
    """Return the ends of the 95 % interval of a rank correlation."""
    if abs(coefficient) == 1:
        return coefficient, coefficient
    middle, width = math.atanh(coefficient), _NORMAL * math.sqrt(_FISHER / (n_points - 3))
    return math.tanh(middle - width), math.tanh(middle + width)
