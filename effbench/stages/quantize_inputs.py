"""Quantisation of the activations: what goes into convolutions and linear layers is on a grid."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar, get_args

from torch import nn

from effbench.compression.constraints.layer_inputs import InputGrid, clear_input, set_input
from effbench.compression.constraints.ranges import Range
from effbench.compression.layers import weight_layers
from effbench.compression.structure.batch_norms import fold_batch_norms
from effbench.plan.stage import Context
from effbench.training.calibration import calibrate


@dataclass(frozen=True, kw_only=True)
class QuantizeInputs:
    """Round the inputs of convolution and linear layers to affine grids (arXiv:1806.08342, sections 2.1 and 3.1).

    One grid per tensor, its range fixed by a pass over training examples. Where a recipe finetunes after this stage,
    training is quantisation-aware. Simulated: the arithmetic is that of floats on the grid, as fast as theirs. A layer
    that the network does not call as a module (attention's projection) keeps its input.
    """

    VERSION: ClassVar[int] = 1

    bits: int
    """Width of an activation, 1 to 16."""
    range: Range = "max"
    """What the grid covers of what was seen: everything, a percentile, or what has the least squared error."""
    percentile: float = 99.9
    """Of range=percentile: the share of the non-zero inputs that is covered, in percent; for each sign."""
    examples: int = 1000
    """Training examples seen; all of them where there are fewer."""
    fold_batch_norm: bool = False
    """Whether batch norms are folded into the layers before them first (see `folding`; after weights are on their grids
    it is too late)."""

    def __post_init__(self) -> None:
        """Refuse what is no width or no range."""
        if not 1 <= self.bits <= 16:
            raise ValueError(f"bits={self.bits}: must be 1 to 16")
        if self.range not in get_args(Range):
            raise ValueError(f"range={self.range}: must be {' or '.join(get_args(Range))}")
        if not 50 <= self.percentile <= 100:
            raise ValueError(f"percentile={self.percentile}: must be 50 to 100")
        if self.examples < 1:
            raise ValueError(f"examples={self.examples}: must be 1 or more")

    def at_round(self, position: int, n_rounds: int) -> QuantizeInputs:
        """Return the stage itself: every round finds the ranges anew."""
        return self

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` whose layers round their inputs; grids that were there are replaced."""
        quantized = copy.deepcopy(model)
        if self.fold_batch_norm:
            fold_batch_norms(quantized, context.example())
        layers = dict(weight_layers(quantized))
        for layer in layers.values():
            clear_input(layer, InputGrid)
        grids = calibrate(
            quantized,
            layers,
            context,
            bits=self.bits,
            range=self.range,
            percentile=self.percentile,
            n_examples=self.examples,
        )
        for name, grid in grids.items():
            set_input(layers[name], grid)
        return quantized
