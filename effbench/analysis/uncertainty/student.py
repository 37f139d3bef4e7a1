"""Intervals from few seeds: Student's t quantile of their number."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95


def t_quantile(n: int, /, *, level: float = LEVEL) -> float:
    """Return by how many standard errors an interval about the mean of n normal values reaches; infinite for one.

    Student 1908 (Biometrika 6), n - 1 degrees of freedom.

    >>> round(t_quantile(3), 3), t_quantile(1)
    (4.303, inf)
    """
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, (1 + level) / 2)) if n > 1 else math.inf


def mean_interval(values: NDArray[np.float64], /, *, level: float = LEVEL) -> tuple[float, float]:
    """Return the interval of the mean of independent values, (n,); NaN where there are fewer than two.

    >>> low, high = mean_interval(np.array([1.0, 2.0, 3.0]))
    >>> round(low, 2), round(high, 2)
    (-0.48, 4.48)
    """
    if len(values) < 2:
        return math.nan, math.nan
    half = t_quantile(len(values), level=level) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half
