"""Seeded splits into train, validation and test."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from effbench.checks.fields import shown
from effbench.data.base import SPLITS, Split

SHARES_FORM = "three numbers, of train, validation and test, 0 or more, that sum to 1"


def checked_shares(shares: Sequence[float], /) -> tuple[float, float, float]:
    """Return the shares of train, validation and test. ValueError for anything but three numbers that sum to 1."""
    if not are_shares(shares) or abs(sum(shares) - 1) > 1e-9:
        raise ValueError(f"data.shares={shown(shares)}: must be {SHARES_FORM}, as in [0.6,0.2,0.2]")
    return shares[0], shares[1], shares[2]


def are_shares(shares: object, /) -> bool:
    """Whether these are three finite numbers of at least 0."""
    if not isinstance(shares, Sequence) or isinstance(shares, str) or len(shares) != 3:
        return False
    are_numbers = all(isinstance(share, int | float) and not isinstance(share, bool) for share in shares)
    return are_numbers and all(0 <= share < math.inf for share in shares)


def stratified_split(labels: np.ndarray, shares: tuple[float, float, float], *, seed: int) -> dict[Split, np.ndarray]:
    """Split example numbers so that every class is divided by the same shares, as nearly as whole examples allow.

    labels: (n,) integers. shares: of train, validation and test; they sum to 1. Returns sorted, disjoint arrays that
    cover 0..n-1: n * share examples in all and, of each class, its share give or take one (of validation and test: less
    than two). ValueError where a split would be empty.
    """
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
        raise ValueError(f"the shares of train, validation and test must be non-negative and sum to 1, got {shares}")
    rng = np.random.default_rng(seed)
    members = [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    rng.shuffle(members)  # which of two small classes gets the odd example is not a matter of its number
    sizes = np.array([len(of_class) for of_class in members])
    n_train = _spread(sizes, shares[0])
    n_rest = sizes - n_train
    n_val = _spread(n_rest, shares[1] / (shares[1] + shares[2])) if n_rest.any() else n_rest
    for split, share, n_taken in zip(SPLITS, shares, (n_train, n_val, n_rest - n_val), strict=True):
        if share > 0 and not n_taken.sum():
            raise ValueError(f"{len(labels)} examples are too few: the {split} split would be empty")
    cut = [np.split(m, [train, train + val]) for m, train, val in zip(members, n_train, n_val, strict=True)]
    parts = [np.concatenate(of_split) for of_split in zip(*cut, strict=True)]
    return {split: np.sort(part) for split, part in zip(SPLITS, parts, strict=True)}


def _spread(sizes: np.ndarray, share: float) -> np.ndarray:
    """Return how many of each class to take: round(total * share) in all, each within one of its size * share."""
    taken = np.floor(np.cumsum(sizes) * share + 0.5).astype(int)
    return np.diff(taken, prepend=0)
