"""Powers of two: a weight is zero or ±2^k, and a multiplication with it is a shift."""

from __future__ import annotations

import torch
from torch import Tensor

MAX_LEVELS = 127
"""Powers of one sign: what 8 bits hold. The smallest is then 2^-126 of the largest, and more bits would add nothing."""


def to_powers(rows: Tensor, /, *, n_levels: int) -> tuple[Tensor, Tensor]:
    """Round each value to the nearest of zero and ± the `n_levels` powers of two up to the row's largest.

    Logarithmic levels: Miyashita et al. 2016, arXiv:1603.01025, section 3; the largest power, 2^floor(log2(4/3 · max)),
    and rounding to the nearest value: Zhou et al. 2017, arXiv:1702.03044, equations 2 to 4.

    rows: (n_rows, n), finite float32. Returns codes, int32 of that shape (0 is zero, ±c is ± the c-th largest power),
    and the largest powers, (n_rows,) float32, 1 for a row of zeros.
    """
    assert 1 <= n_levels <= MAX_LEVELS, n_levels
    mantissa, exponent = torch.frexp(rows.abs())
    highest = _nearest(*torch.frexp(rows.abs().amax(1, keepdim=True))).clamp(max=127)
    lowest = highest - n_levels + 1
    power = _nearest(mantissa, exponent).clamp(max=highest)
    # Half of the smallest power, and what lies above it, is nearer to that than to zero.
    power = torch.where((power < lowest) & (exponent >= lowest), lowest, power)
    codes = torch.where((rows != 0) & (power >= lowest), highest - power + 1, 0) * torch.sign(rows).to(torch.int32)
    is_zero = (rows == 0).all(1)
    largest = _two_to(highest.squeeze(1).where(~is_zero, torch.zeros_like(highest.squeeze(1))))
    return codes.to(torch.int32), largest


def from_powers(codes: Tensor, largest: Tensor, /) -> Tensor:
    """Return the float32 values of codes; `largest` has a shape that broadcasts. Any int32 is a code."""
    sizes = codes.clamp(-MAX_LEVELS, MAX_LEVELS).abs().long()
    table = torch.tensor([0.0, *(2.0 ** (1 - c) for c in range(1, MAX_LEVELS + 1))], device=codes.device)
    return table[sizes] * torch.sign(codes) * largest


def power_above(values: Tensor, /) -> Tensor:
    """Return the least power of two that is not below each value; float32, finite, above 0.

    >>> power_above(torch.tensor([0.5, 0.51, 3.0])).tolist()
    [0.5, 1.0, 4.0]
    """
    mantissa, exponent = torch.frexp(values)
    return _two_to(torch.where(mantissa == 0.5, exponent - 1, exponent))


def _nearest(mantissa: Tensor, exponent: Tensor) -> Tensor:
    """Return the exponent of the power of two nearest to mantissa · 2^exponent, with the mantissa in [1/2, 1)."""
    return torch.where(mantissa >= 0.75, exponent, exponent - 1)


def _two_to(exponents: Tensor) -> Tensor:
    """Return exact powers of two, float32 (torch's own power is rounded on some machines)."""
    table = torch.tensor([2.0**k for k in range(-150, 128)], device=exponents.device)
    return table[(exponents + 150).clamp(0, 277).long()]
