"""Weights put on a few levels, each on its own: the options and the work that quantising stages have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from effbench.compression.constraints.powers_of_two import power_above
from effbench.compression.constraints.quantizer import GridGranularity, GridScheme, HeldGrid, UniformQuantizer
from effbench.compression.constraints.ranges import Range, ScaleKind
from effbench.compression.constraints.sharing import share_values
from effbench.compression.constraints.stack import constraints_on, parameter_behind, quantizer_of, register
from effbench.compression.feedback import RoundColumn, round_with_feedback, spread_of_errors
from effbench.compression.layers import Weight

Levels = Literal[GridScheme, "kmeans"]


@dataclass(frozen=True, kw_only=True)
class GridOptions:
    """How weights are put on levels of so many bits."""

    scheme: Levels = "symmetric"
    """Where the levels are: see `quantizer.UniformQuantizer`, also for `range`; or kmeans, where the weights are."""
    granularity: GridGranularity = "channel"
    """One grid per output channel, or one per tensor. The values of kmeans are always the whole tensor's."""
    range: Range = "max"
    """What a symmetric or affine grid covers. One bit has the scale of least squared error anyway."""
    percentile: Annotated[float, Field(ge=50, le=100)] = 99.9
    """Of range=percentile: the share of the weights that is covered, in percent."""
    scale: ScaleKind = "real"
    """Of symmetric and affine grids: any number, or a power of two (fixed point)."""

    def check_grid(self) -> None:
        """Refuse a range that the scheme does not have."""
        if self.range != "max" and self.scheme not in ("symmetric", "affine"):
            raise ValueError(f"range={self.range}: must be max with scheme={self.scheme}, which finds its own levels")
        if self.scale != "real" and self.scheme not in ("symmetric", "affine"):
            raise ValueError(f"scale={self.scale}: must be real with scheme={self.scheme}, which has no even steps")

    def check_bits(self, bits: int, /, *, shown: str) -> None:
        """Refuse what is no width of this scheme; `shown` is what the user wrote, as in "bits=17"."""
        if not 1 <= bits <= 16:
            raise ValueError(f"{shown}: must be 1 to 16")
        if self.scheme == "ternary" and bits != 2:
            raise ValueError(f"{shown}: must be 2 with scheme=ternary, which has three levels")
        if self.scale == "power_of_two" and bits == 1:
            raise ValueError(f"{shown}: must be 2 or more with scale=power_of_two: one bit is a scaled sign")
        if self.scheme == "power_of_two" and not 2 <= bits <= 8:
            raise ValueError(f"{shown}: must be 2 to 8 with scheme=power_of_two, whose exponents need no more")

    def put_on_grid(self, weight: Weight, bits: int, /, *, generator: torch.Generator) -> None:
        """Put a weight on its levels, in all its places. One that is on this very grid already stays as it is.

        generator: what scheme=kmeans may draw from.
        """
        (module, tensor_name), *others = weight.places
        if self.scheme == "kmeans":
            # Values beside zero: what is pruned is told by the file's index, and takes none of them.
            share_values(
                module,
                tensor_name,
                2**bits,
                name=weight.name,
                initial="linear",
                generator=generator,
                also=others,
            )
            return
        if not self.is_on_grid(weight, bits):
            grid = self._grid(bits)
            for place, name in weight.places:
                register(place, name, grid)

    def is_on_grid(self, weight: Weight, bits: int, /) -> bool:
        """Whether a weight is on this very grid already, or on one of its kind that is held."""
        earlier = quantizer_of(*weight.places[0])
        if isinstance(earlier, HeldGrid):
            same = (earlier.bits, earlier.scheme, earlier.granularity) == (bits, self.scheme, self.granularity)
            return same and (self.scale == "real" or bool((power_above(earlier.scale) == earlier.scale).all()))
        return earlier is not None and earlier.settings() == self._grid(bits).settings()

    def _grid(self, bits: int) -> UniformQuantizer:
        assert self.scheme != "kmeans"
        return UniformQuantizer(
            bits,
            scheme=self.scheme,
            granularity=self.granularity,
            grid_range=self.range,
            percentile=self.percentile,
            scale=self.scale,
        )

    def put_on_grid_with_feedback(self, weight: Weight, bits: int, moments: Tensor, /) -> None:
        """Put a weight on its levels, each chosen after the errors of those before it; zeros of a mask stay zeros.

        moments: (groups, columns, columns), see `training.input_moments`. The weight `takes_feedback`.
        """
        module, tensor_name = weight.places[0]
        value = weight.value()
        grid = self._grid(bits).quantize(value)
        held = HeldGrid(grid.scale, grid.zero_point, bits=bits, scheme=self._grid(bits).scheme)
        stays_zero = (value == 0) & (len(constraints_on(module, tensor_name)) > 0)
        rows = value.reshape(len(moments), -1, moments.shape[-1])
        to_level = _to_level(held, stays_zero.reshape(rows.shape))
        rounded = round_with_feedback(rows, spread_of_errors(moments), to_level)
        with torch.no_grad():
            parameter_behind(module, tensor_name).copy_(rounded.reshape(value.shape))
        for place, name in weight.places:
            register(place, name, held)


def _to_level(grid: HeldGrid, zeros: Tensor) -> RoundColumn:
    """Return what rounds a column to the grid of its rows; what is marked in `zeros`, of the rows' shape, is zero."""

    def round_column(values: Tensor, column: int) -> Tensor:
        level = grid.quantize(values.float().reshape(-1, 1)).dequantize().reshape(values.shape)
        return torch.where(zeros[..., column], 0.0, level).double()

    return round_column
