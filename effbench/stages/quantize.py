"""Uniform quantisation of the weights: after training, or during it when the recipe trains on afterwards."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

from torch import nn
from torch.nn.utils import parametrize

from effbench.constraints import Granularity, Scheme, UniformQuantizer, quantizer_of, weight_layers
from effbench.recipe import Context


@dataclass(frozen=True, kw_only=True)
class Quantize:
    """Round the convolution and linear weights to a uniform grid of `bits` bits (arXiv:1806.08342, sections 2 and 3).

    The grid is a constraint: where a recipe finetunes after this stage, training is quantisation-aware (the forward
    pass sees rounded weights, gradients pass straight through). Biases and batch norms stay in float32.
    """

    VERSION: ClassVar[int] = 1

    bits: int
    """Width of a weight, 1 to 16; one bit is a scaled sign."""
    scheme: Scheme = "symmetric"
    granularity: Granularity = "channel"
    """One grid per output channel, or one per tensor."""

    def __post_init__(self) -> None:
        """Refuse what is no width or no grid."""
        if not 1 <= self.bits <= 16:
            raise ValueError(f"bits={self.bits}: must be 1 to 16")
        if self.scheme not in ("symmetric", "affine"):
            raise ValueError(f"scheme={self.scheme}: must be symmetric or affine")
        if self.granularity not in ("tensor", "channel"):
            raise ValueError(f"granularity={self.granularity}: must be tensor or channel")

    def at_round(self, position: int, n_rounds: int) -> Quantize:
        """Return the stage itself: the width is the same in every round."""
        return self

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` whose weights are on their grids."""
        quantized = copy.deepcopy(model)
        for _, layer in weight_layers(quantized):
            grid = UniformQuantizer(self.bits, scheme=self.scheme, granularity=self.granularity)
            earlier = quantizer_of(layer, "weight")
            if earlier is None or earlier.settings() != grid.settings():  # a later round finds its grid there already
                parametrize.register_parametrization(layer, "weight", grid)
        return quantized
