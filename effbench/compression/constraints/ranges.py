"""The range that a grid of levels covers: everything, all but the outliers, or what rounds with the least error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Range = Literal["max", "percentile", "mse"]
ScaleKind = Literal["real", "power_of_two"]
"""Of a grid's scale: any number, or a power of two, with which codes are fixed-point numbers."""

_COARSE, _FINE = 16, 8


def percentile_of(magnitudes: Tensor, percentile: float, /) -> Tensor:
    """Return the percentile of each row's positive entries, one of them (nearest rank); 0 for a row without any.

    magnitudes: (n_rows, n), none negative. Returns (n_rows,). Zeros don't count: those of a mask, or of a ReLU, are on
    every grid, and say nothing of where the outliers begin.

    >>> percentile_of(torch.tensor([[0.0, 0.0, 1.0, 2.0, 3.0, 40.0]]), 75.0).tolist()
    [3.0]
    """
    descending = magnitudes.sort(dim=1, descending=True).values
    n_above = ((1 - percentile / 100) * (magnitudes > 0).sum(1)).long()
    return descending.gather(1, n_above.unsqueeze(1)).squeeze(1)


def least_error(error_at: Callable[[Tensor], Tensor], n_rows: int, device: torch.device, /) -> Tensor:
    """Return for each row the fraction of its full range that has the least error, (n_rows,), in (0, 1].

    error_at: gives each row's error for the fractions that are tried, (n_rows,) to (n_rows,). The full range is tried
    first and left only for a smaller error, so the result is never worse. A coarse search, then a fine one around its
    best (the error is not convex, but nearly): 24 trials.
    """
    best = torch.ones(n_rows, device=device)
    least = error_at(best)

    def attempt(fractions: Tensor) -> None:
        nonlocal best, least
        error = error_at(fractions)
        is_better = error < least
        best, least = torch.where(is_better, fractions, best), torch.where(is_better, error, least)

    for step in range(1, _COARSE):
        attempt(torch.full_like(best, 1 - step / _COARSE))
    coarse = best
    for step in range(1, _FINE // 2 + 1):
        for sign in (-1, 1):
            attempt((coarse + sign * step / (_COARSE * (_FINE // 2 + 1))).clamp(max=1.0))
    return best
