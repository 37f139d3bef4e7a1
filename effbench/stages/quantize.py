"""Quantisation of the weights: after training, or during it when the recipe trains on afterwards."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar, get_args

from torch import nn
from torch.nn.utils import parametrize

from effbench.constraints import quantizer_of, weight_layers
from effbench.folding import fold_batch_norms
from effbench.quantizer import Granularity, Scheme, UniformQuantizer
from effbench.ranges import Range
from effbench.recipe import Context


@dataclass(frozen=True, kw_only=True)
class Quantize:
    """Round the convolution and linear weights to a grid of `bits` bits (arXiv:1806.08342, sections 2 and 3).

    The grid is a constraint: where a recipe finetunes after this stage, training is quantisation-aware (the forward
    pass sees rounded weights, gradients pass straight through). Biases and batch norms stay in float32; the batch norms
    that can be are first folded into the layers before them where that is asked for (see `folding`), for good: what
    finetunes afterwards trains a network without them.
    """

    VERSION: ClassVar[int] = 1

    bits: int
    """Width of a weight, 1 to 16; one bit is a scaled sign. 2 for a ternary scheme, 2 to 8 for powers of two."""
    scheme: Scheme = "symmetric"
    """The levels: see `constraints.UniformQuantizer`, also for `range`."""
    granularity: Granularity = "channel"
    """One grid per output channel, or one per tensor."""
    range: Range = "max"
    """What a symmetric or affine grid covers. One bit has the scale of least squared error anyway."""
    percentile: float = 99.9
    """Of range=percentile: the share of the weights that is covered, in percent."""
    fold_batch_norm: bool = False
    """Whether batch norms are folded first: what is rounded are then the weights that an engine would use."""

    def __post_init__(self) -> None:
        """Refuse what is no width or no grid."""
        if not 1 <= self.bits <= 16:
            raise ValueError(f"bits={self.bits}: must be 1 to 16")
        if self.scheme not in get_args(Scheme):
            raise ValueError(f"scheme={self.scheme}: must be {' or '.join(get_args(Scheme))}")
        if self.scheme == "ternary" and self.bits != 2:
            raise ValueError(f"bits={self.bits}: must be 2 with scheme=ternary, which has three levels")
        if self.scheme == "power_of_two" and not 2 <= self.bits <= 8:
            raise ValueError(f"bits={self.bits}: must be 2 to 8 with scheme=power_of_two, whose exponents need no more")
        if self.granularity not in ("tensor", "channel"):
            raise ValueError(f"granularity={self.granularity}: must be tensor or channel")
        if self.range not in get_args(Range):
            raise ValueError(f"range={self.range}: must be {' or '.join(get_args(Range))}")
        if self.range != "max" and self.scheme not in ("symmetric", "affine"):
            raise ValueError(f"range={self.range}: must be max with scheme={self.scheme}, which finds its own levels")
        if not 50 <= self.percentile <= 100:
            raise ValueError(f"percentile={self.percentile}: must be 50 to 100")

    def at_round(self, position: int, n_rounds: int) -> Quantize:
        """Return the stage itself: the width is the same in every round."""
        return self

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` whose weights are on their grids."""
        quantized = copy.deepcopy(model)
        if self.fold_batch_norm:
            fold_batch_norms(quantized, context.example())
        for _, layer in weight_layers(quantized):
            grid = UniformQuantizer(
                self.bits,
                scheme=self.scheme,
                granularity=self.granularity,
                range=self.range,
                percentile=self.percentile,
            )
            earlier = quantizer_of(layer, "weight")
            if earlier is None or earlier.settings() != grid.settings():  # a later round finds its grid there already
                parametrize.register_parametrization(layer, "weight", grid)
        return quantized
