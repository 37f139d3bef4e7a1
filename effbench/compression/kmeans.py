"""k-means of numbers, exactly as Lloyd's algorithm does it, in time that hardly grows with how many there are.

In one dimension a cluster is a run of the sorted numbers. With prefix sums, a round of the algorithm is a binary search
for the ends of k runs and k differences, however long the runs: the sort is what takes the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

Initial = Literal["linear", "density", "random"]
Numbers = NDArray[np.float64]

MAX_ROUNDS = 1_000
"""Rounds after which the algorithm stops where it is; each lowers the squared error."""


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """Clusters of numbers: runs of the sorted numbers, in ascending order."""

    lowest: Numbers
    """(n_clusters,), the lowest member of each, ascending."""
    centroids: Numbers
    """(n_clusters,), the mean of the members of each, ascending."""

    def labels(self, numbers: Numbers, /) -> NDArray[np.int64]:
        """Return which cluster each number is in, 0 to n_clusters - 1, in the shape of `numbers` (which were given)."""
        return np.searchsorted(self.lowest[1:], numbers, side="right")


def kmeans(
    numbers: Numbers, n_clusters: int, /, *, initial: Initial = "linear", generator: torch.Generator | None = None
) -> Clusters:
    """Find clusters whose numbers are close to the cluster's mean (Lloyd 1982).

    A cluster that loses its last member is put where the error is largest, so that all of them are used; where there
    are no more distinct numbers than clusters, each is a cluster of its own. The squared error is never above that of
    rounding to the nearest of the initial centroids.

    Parameters
    ----------
    numbers
        (n,), finite, at least one, in any order.
    n_clusters
        At least 1.
    initial
        Where the centroids start (Han et al. 2015, arXiv:1510.00149, section 3.1): `linear`, evenly from the lowest
        number to the highest; `density`, evenly over the ranks, so that each begins with equally many; `random`, on
        distinct numbers drawn from `generator` (the only one that needs it).

    Raises
    ------
    ValueError
        If a number is not finite, if there is none, or for another `n_clusters` or `initial`.

    Examples
    --------
    >>> clusters = kmeans(np.array([0.0, 5.0, 1.0, 7.0, 6.0]), 2)
    >>> clusters.centroids.tolist(), clusters.labels(np.array([0.0, 5.0, 1.0, 7.0, 6.0])).tolist()
    ([0.5, 6.0], [0, 1, 0, 1, 1])
    """
    if initial not in get_args(Initial):
        raise ValueError(f"initial={initial}: must be {', '.join(get_args(Initial))}")
    if n_clusters < 1:
        raise ValueError(f"n_clusters={n_clusters}: must be 1 or more")
    if numbers.size == 0 or not np.isfinite(numbers).all():
        raise ValueError("k-means needs at least one number, and finite ones only")
    ordered = np.sort(numbers, axis=None)
    distinct = ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])]
    if len(distinct) <= n_clusters:
        return Clusters(lowest=distinct, centroids=distinct)
    return _lloyd(ordered, _start(ordered, distinct, n_clusters, initial, generator))


def _start(
    ordered: Numbers, distinct: Numbers, n_clusters: int, initial: Initial, generator: torch.Generator | None
) -> Numbers:
    """Return the initial centroids, (n_clusters,), ascending."""
    if initial == "linear":
        return np.linspace(ordered[0], ordered[-1], n_clusters)
    if initial == "density":
        ranks = (2 * np.arange(n_clusters) + 1) * len(ordered) // (2 * n_clusters)
        return ordered[ranks]
    chosen = torch.randperm(len(distinct), generator=generator)[:n_clusters].numpy()
    return np.sort(distinct[chosen])


def _lloyd(ordered: Numbers, centroids: Numbers) -> Clusters:
    """Move centroids to the mean of their numbers until no number changes its cluster."""
    # Sums of small numbers around the middle lose fewer digits in a difference of two of them.
    middle = (ordered[0] + ordered[-1]) / 2
    sums = np.concatenate([[0.0], np.cumsum(ordered - middle)])
    squares = np.concatenate([[0.0], np.cumsum((ordered - middle) ** 2)])
    ends = _ends(ordered, centroids)
    for _ in range(MAX_ROUNDS):
        centroids = _means(ends, sums, squares, ordered, centroids, middle)
        before, ends = ends, _ends(ordered, centroids)
        if np.array_equal(before, ends):
            break
    is_used = ends[1:] > ends[:-1]
    starts, stops = ends[:-1][is_used], ends[1:][is_used]
    return Clusters(lowest=ordered[starts], centroids=(sums[stops] - sums[starts]) / (stops - starts) + middle)


def _ends(ordered: Numbers, centroids: Numbers) -> NDArray[np.int64]:
    """Return where each centroid's run of nearest numbers ends, (n_clusters + 1,), beginning with 0."""
    inner = np.searchsorted(ordered, (centroids[:-1] + centroids[1:]) / 2, side="right")
    return np.concatenate([[0], inner, [len(ordered)]])


def _means(
    ends: NDArray[np.int64], sums: Numbers, squares: Numbers, ordered: Numbers, centroids: Numbers, middle: float
) -> Numbers:
    """Return the next centroids, ascending: means, and for a run of none the number that is worst off."""
    starts, stops = ends[:-1], ends[1:]
    counts = stops - starts
    totals = sums[stops] - sums[starts]
    means = np.where(counts > 0, totals / np.maximum(counts, 1) + middle, centroids)
    (unused,) = np.nonzero(counts == 0)
    if len(unused):
        errors = squares[stops] - squares[starts] - totals**2 / np.maximum(counts, 1)
        # A run of one distinct number has no error but that of rounding: there is nothing to gain in it.
        low, high = ordered[np.minimum(starts, len(ordered) - 1)], ordered[stops - 1]
        worst = np.argsort(np.where((counts > 1) & (low < high), -errors, np.inf), kind="stable")
        worst = worst[: int(((counts > 1) & (low < high)).sum())][: len(unused)]
        is_high = high[worst] - means[worst] > means[worst] - low[worst]
        means[unused[: len(worst)]] = np.where(is_high, high[worst], low[worst])
    return np.sort(means)
