"""Quantisation of the activations: what goes into convolutions and linear layers is on a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from torch import nn

from effbench.compression.constraints.copies import copy_network
from effbench.compression.constraints.layer_inputs import InputGrid, clear_input, set_input
from effbench.compression.constraints.ranges import Range, ScaleKind
from effbench.plan.context import Context
from effbench.plan.stage import Stage
from effbench.training.calibration import calibrate


@dataclass(frozen=True, kw_only=True)
class QuantizeInputs(Stage):
    """Round the inputs of convolution and linear layers to affine grids (arXiv:1806.08342, sections 2.1 and 3.1).

    One grid per tensor, its range fixed by a pass over training examples. Where a recipe finetunes after this stage,
    training is quantisation-aware. Simulated: the arithmetic is that of floats on the grid, as fast as theirs. A layer
    that the network does not call as a module (attention's projection) keeps its input, and the run says so.
    """

    VERSION: ClassVar[int] = 3
    LAYER_FIELD: ClassVar[str | None] = "bits"

    bits: Annotated[int, Field(ge=1, le=16)]
    """Width of an activation."""
    range: Range = "max"
    """What the grid covers of what was seen: everything, a percentile, or what has the least squared error."""
    percentile: Annotated[float, Field(ge=50, le=100)] = 99.9
    """Of range=percentile: the share of the non-zero inputs that is covered, in percent; for each sign."""
    scale: ScaleKind = "real"
    """Of the grid: any number, or a power of two. With such scales of the weights, too, the products of a layer are
    fixed-point numbers; biases and batch norms stay floats."""
    examples: Annotated[int, Field(ge=1)] = 1000
    """Training examples seen; all of them where there are fewer."""

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` whose layers round their inputs; grids that were there are replaced."""
        quantized = copy_network(model)
        bits = self.values_by_layer(quantized, context)
        layers = {name: quantized.get_submodule(name) for name in bits}
        for layer in layers.values():
            clear_input(layer, InputGrid)
        grids = calibrate(
            quantized,
            layers,
            context.training_images(self.examples),
            bits=bits,
            covered=self.range,
            percentile=self.percentile,
            scale=self.scale,
            device=context.device,
        )
        for name, grid in grids.items():
            set_input(layers[name], grid)
        self.say_share(grids, quantized, context)
        return quantized
