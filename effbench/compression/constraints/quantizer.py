"""Weights on a grid: the quantiser, a constraint on a tensor, and the form in which its tensor is stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from effbench.compression.constraints.powers_of_two import MAX_LEVELS, from_powers, power_above, to_powers
from effbench.compression.constraints.ranges import Range, ScaleKind, least_error, percentile_of

GridScheme = Literal["symmetric", "affine", "ternary", "power_of_two"]
GridGranularity = Literal["tensor", "channel"]


@dataclass(frozen=True, kw_only=True)
class QuantizedTensor:
    """A tensor in the form in which it is stored: value = (codes - zero_point) * scale, computed in float32.

    codes: int32, the tensor's own shape. scale (float32) and zero_point (int32) have shape () for one grid over the
    whole tensor, or (n_out,) for one grid per slice along dimension 0. `bits` is the nominal width of a code. Where
    `is_power`, the codes are those of `powers_of_two`, scale is the largest power, and there is no zero point. Where
    `is_trellis` they were chosen so that the machine of `compression.trellis` allows them, which the file makes use of.
    """

    codes: Tensor
    scale: Tensor
    zero_point: Tensor
    bits: int
    is_power: bool = False
    is_trellis: bool = False

    def dequantize(self) -> Tensor:
        """Return the float32 values, computed the same way wherever codes become values."""
        if self.is_power:
            return from_powers(self.codes, _along_first(self.scale, self.codes))
        return (self.codes - _along_first(self.zero_point, self.codes)).float() * _along_first(self.scale, self.codes)

    def cpu(self) -> QuantizedTensor:
        """Return the same on the CPU."""
        return replace(self, codes=self.codes.cpu(), scale=self.scale.cpu(), zero_point=self.zero_point.cpu())


class UniformQuantizer(nn.Module):
    """Round a weight to a uniform grid that follows its current range (Krishnamoorthi 2018, arXiv:1806.08342).

    symmetric: 2^bits - 1 levels around zero, scale = max|w| / (2^(bits-1) - 1).
    affine: 2^bits levels from min(w, 0) to max(w, 0); zero is always a level.
    One bit (either of these) is a scaled sign: sign(w) times the mean |w| of the non-zero weights (arXiv:1603.05279,
    section 3.1); a weight that a mask holds at zero stays zero.
    ternary (2 bits): zero up to 0.75 times the mean |w|, ± the mean of the larger ones beyond (Li et al. 2016,
    arXiv:1605.04711, section 2.2). Means are over non-zero weights here, too.
    power_of_two (2 to 8 bits): zero and ± 2^(bits-1) - 1 powers of two, a grid uniform in the logarithm: see
    `powers_of_two`.

    grid_range: what the symmetric and affine grids of two bits and more cover. `max` everything; `percentile` that
    percentile of |w|, per sign where affine, with larger weights at the end of the grid; `mse` the share of the full
    range with the least squared error, by search, at about 25 times the cost.
    scale: of the symmetric and affine grids of two bits and more; `power_of_two` takes the next power above, so that
    codes are fixed-point numbers (Jacob et al. 2018, arXiv:1712.05877, section 2.2, with a multiplier that is a shift).
    Gradients pass straight through (Bengio et al. 2013, arXiv:1308.3432).
    """

    def __init__(
        self,
        bits: int,
        *,
        scheme: GridScheme = "symmetric",
        granularity: GridGranularity = "channel",
        grid_range: Range = "max",
        percentile: float = 99.9,
        scale: ScaleKind = "real",
    ) -> None:
        super().__init__()
        self.bits = bits
        self.scale_kind = scale
        self.scheme = scheme
        self.granularity = granularity
        self.grid_range = grid_range
        self.percentile = percentile

    def forward(self, weight: Tensor) -> Tensor:
        """Return the dequantised weight, differentiable as if it were `weight`."""
        rounded = self.quantize(weight.detach()).dequantize().to(weight.dtype)
        # Added to the rounded weight is an exact zero: training sees the very values that evaluation and the file have.
        return rounded + (weight - weight.detach()) if torch.is_grad_enabled() and weight.requires_grad else rounded

    def settings(self) -> dict[str, Any]:
        """Return what `impose` needs to make the constraint again."""
        names = ("bits", "scheme", "granularity", "grid_range", "percentile")
        scale = {} if self.scale_kind == "real" else {"scale": self.scale_kind}
        return {"kind": "uniform", **{name: getattr(self, name) for name in names}, **scale}

    def quantize(self, weight: Tensor) -> QuantizedTensor:
        """Return the codes of `weight` (any float dtype) and their grid. ValueError where it is not finite."""
        weight = weight.detach().float()
        if not bool(torch.isfinite(weight).all()):
            raise ValueError("a weight that is not finite can't be quantised")
        rows = weight.reshape(weight.shape[0], -1) if self.granularity == "channel" else weight.reshape(1, -1)
        codes, scale, zero_point = self._codes(rows)
        if self.granularity == "tensor":
            scale, zero_point = scale.squeeze(0), zero_point.squeeze(0)
        return QuantizedTensor(
            codes=codes.reshape(weight.shape),
            scale=scale,
            zero_point=zero_point,
            bits=self.bits,
            is_power=self.scheme == "power_of_two",
        )

    def _codes(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the codes of (n_rows, n) weights, and scale and zero point per row."""
        no_shift = torch.zeros(len(rows), dtype=torch.int32, device=rows.device)
        if self.scheme == "power_of_two":
            return *to_powers(rows, n_levels=min(2 ** (self.bits - 1) - 1, MAX_LEVELS)), no_shift
        if self.scheme == "ternary" or self.bits == 1:
            sizes = rows.abs()
            is_used = sizes > (0.75 * _mean_where(sizes, sizes > 0).unsqueeze(1) if self.scheme == "ternary" else 0)
            return (torch.sign(rows) * is_used).to(torch.int32), _mean_where(sizes, is_used), no_shift
        low, high = self._ends(rows)
        if self.grid_range == "mse":
            share = least_error(lambda share: self._error(rows, share * low, share * high), len(rows), rows.device)
            low, high = share * low, share * high
        return self._round(rows, low, high)

    def _ends(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the lowest and highest value of each row's grid; for a symmetric one, of opposite signs."""
        if self.scheme == "symmetric":
            sizes = rows.abs()
            high = percentile_of(sizes, self.percentile) if self.grid_range == "percentile" else sizes.amax(1)
            return -high, high
        if self.grid_range == "percentile":
            return -percentile_of((-rows).clamp(min=0), self.percentile), percentile_of(
                rows.clamp(min=0), self.percentile
            )
        return rows.amin(1).clamp(max=0), rows.amax(1).clamp(min=0)

    def _round(self, rows: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the codes on the grids from `low` to `high`, (n_rows,) each, their scales and zero points."""
        if self.scheme == "symmetric":
            first, last = 1 - 2 ** (self.bits - 1), 2 ** (self.bits - 1) - 1
            scale = self._scale(high / last)
            zero_point = torch.zeros_like(scale, dtype=torch.int32)
        else:
            first, last = 0, 2**self.bits - 1
            scale = self._scale((high - low) / last)
            zero_point = torch.round(-low / scale).to(torch.int32).clamp(0, last)
        # An outlier far outside of its grid is cut off before it is an integer, which it may be too large for.
        steps = torch.round(rows / scale.unsqueeze(1)).clamp(-(2**20), 2**20).to(torch.int32)
        return (steps + zero_point.unsqueeze(1)).clamp(first, last), scale, zero_point

    def _scale(self, least: Tensor) -> Tensor:
        """Return the scale of a grid that is at least so wide, from step to step."""
        return power_above(_usable(least)) if self.scale_kind == "power_of_two" else _usable(least)

    def _error(self, rows: Tensor, low: Tensor, high: Tensor) -> Tensor:
        codes, scale, zero_point = self._round(rows, low, high)
        return ((codes - zero_point.unsqueeze(1)) * scale.unsqueeze(1) - rows).square().sum(1)


class HeldGrid(UniformQuantizer):
    """A uniform grid that stays where it was put: what is rounded to it afterwards does not move its scale.

    For codes that were chosen otherwise than by rounding (`compression.feedback`): the parameter behind the constraint
    holds their values, which the grid gives back to the bit.

    scale: float32, () or (n_out,). zero_point: int32, of the same shape. Both are buffers. is_trellis: see
    `QuantizedTensor`.
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(
        self, scale: Tensor, zero_point: Tensor, *, bits: int, scheme: GridScheme, is_trellis: bool = False
    ) -> None:
        assert scheme in ("symmetric", "affine"), scheme
        super().__init__(bits, scheme=scheme, granularity="channel" if scale.ndim else "tensor")
        self.is_trellis = is_trellis
        self.register_buffer("scale", scale.detach().clone())
        self.register_buffer("zero_point", zero_point.detach().clone())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> HeldGrid:
        """Move the grid as the network moves; where that is cast to another type, the grid stays what it is."""
        scale = self.scale
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.scale = scale.to(self.scale.device)
        return self

    def settings(self) -> dict[str, Any]:
        """Return what `impose` needs to make the constraint again, beside its buffers."""
        names = ("bits", "scheme", "granularity", *(["is_trellis"] if self.is_trellis else []))
        return {"kind": "held", **{name: getattr(self, name) for name in names}}

    def quantize(self, weight: Tensor) -> QuantizedTensor:
        """Return the codes of `weight` (any float dtype) and their grid. ValueError where it is not finite."""
        return replace(super().quantize(weight), is_trellis=self.is_trellis)

    def _codes(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scale, zero_point = self.scale.reshape(-1), self.zero_point.reshape(-1)
        steps = torch.round(rows / scale.unsqueeze(1)).clamp(-(2**20), 2**20).to(torch.int32)
        first = 1 - 2 ** (self.bits - 1) if self.scheme == "symmetric" else 0
        last = first + 2**self.bits - (2 if self.scheme == "symmetric" else 1)
        return (steps + zero_point.unsqueeze(1)).clamp(first, last), scale, zero_point


def _mean_where(values: Tensor, marks: Tensor) -> Tensor:
    """Return the mean of each row's marked values, (n_rows,); 0 for a row without."""
    return (values * marks).sum(1) / marks.sum(1).clamp(min=1)


def _along_first(per_slice: Tensor, like: Tensor) -> Tensor:
    """Shape () or (n_out,) so that it broadcasts along dimension 0 of `like`."""
    return per_slice if per_slice.ndim == 0 else per_slice.reshape(-1, *[1] * (like.ndim - 1))


def _usable(scale: Tensor) -> Tensor:
    """Give an all-zero (or vanishing) slice scale 1: its codes are all zero, and nothing is divided by zero."""
    return torch.where(scale > torch.finfo(torch.float32).tiny, scale, torch.ones_like(scale))
