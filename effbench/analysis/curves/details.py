"""What an average hides: the group that a network serves worst, and confidence that is not earned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

N_BINS = 15
"""Of confidences, as by Guo et al."""


def worst_group(counts: NDArray[np.integer], group: NDArray[np.integer], /, *, lower_is_better: bool = False) -> float:
    """Return the lowest share of any group that has examples; the highest, where lower ones are better.

    counts: (n, 1, 2), numerators and denominators of each example. group: (n,), such as classes. ValueError where there
    are no examples, or not as many of both.

    >>> worst_group(np.array([[[1, 1]], [[1, 1]], [[0, 1]]]), np.array([0, 1, 1]))
    0.5
    """
    if counts.shape[1:] != (1, 2) or group.shape != counts.shape[:1] or not len(group):
        raise ValueError(f"counts must be (n, 1, 2) and group (n,) of n > 0, got {counts.shape} and {group.shape}")
    _, numbers = np.unique(group, return_inverse=True)
    numerators, denominators = (np.bincount(numbers, weights=counts[:, 0, i]) for i in (0, 1))
    shares = numerators / denominators
    return float(shares.max() if lower_is_better else shares.min())


def calibration_error(
    correct: NDArray[np.bool_], confidence: NDArray[np.floating], /, *, n_bins: int = N_BINS
) -> float:
    """Return the expected calibration error (Guo et al. 2017, arXiv:1706.04599, section 2).

    The mean over bins of equal width of |accuracy - mean confidence|, weighted by their examples; 0 is calibrated, NaN
    says that a confidence is NaN.

    correct: (n,) bool. confidence: (n,), the probability of the predicted class. ValueError for probabilities outside
    [0, 1], where there are no examples, or not as many of both.

    >>> round(calibration_error(np.array([True, False]), np.array([0.9, 0.9])), 3)
    0.4
    """
    if correct.shape != confidence.shape or correct.ndim != 1 or not len(correct):
        raise ValueError(f"correct and confidence must be (n,) of n > 0, got {correct.shape} and {confidence.shape}")
    if np.isnan(confidence).any():
        return float("nan")
    if not (0 <= confidence.min() and confidence.max() <= 1):
        raise ValueError(f"confidence must be in [0, 1], got {confidence.min()} to {confidence.max()}")
    gaps = np.bincount(calibration_bins(confidence, n_bins), weights=correct.astype(np.float64) - confidence)
    return float(np.abs(gaps).sum() / len(correct))


def calibration_bins(confidence: NDArray[np.floating], n_bins: int = N_BINS, /) -> NDArray[np.int64]:
    """Return the bin of each confidence, (n,): bin m is ((m - 1) / n_bins, m / n_bins]; 0 goes to the first."""
    return np.maximum(np.ceil(confidence.astype(np.float64) * n_bins).astype(np.int64) - 1, 0)
