"""Seeded splits into train, validation and test."""

from __future__ import annotations

import numpy as np

from effbench.data import SPLITS, Split


def stratified_split(
    labels: np.ndarray, shares: tuple[float, float, float], *, seed: int
) -> dict[Split, np.ndarray]:
    """Split example numbers so that every class is divided by the same shares, as nearly as whole examples allow.

    labels: (n,) integers. shares: of train, validation and test; they sum to 1. Returns sorted, disjoint arrays that
    cover 0..n-1. ValueError where a split would be empty.
    """
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
        raise ValueError(f"the shares of train, validation and test must be non-negative and sum to 1, got {shares}")
    rng = np.random.default_rng(seed)
    # Each class is shuffled, then spread evenly over [0, 1): cutting that line at the shares splits every class alike.
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    order = np.lexsort((rng.random(len(labels)), position))  # ties in random order: no class comes first
    ends = np.floor(np.cumsum(shares) * len(labels) + 0.5).astype(int)
    parts = np.split(order, ends[:2])
    for split, share, part in zip(SPLITS, shares, parts, strict=True):
        if share > 0 and not len(part):
            raise ValueError(f"{len(labels)} examples are too few: the {split} split would be empty")
    return {split: np.sort(part) for split, part in zip(SPLITS, parts, strict=True)}
