"""Quantisation of the activations: what goes into convolutions, linear layers and attention's products is on a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor, nn

from effbench.checks.text import few_names
from effbench.compression.constraints.copies import copy_network
from effbench.compression.constraints.layer_inputs import InputGrid, ProductGrids, clear_input, set_input
from effbench.plan.context import Context
from effbench.plan.input_grids import InputGridOptions, outermost
from effbench.plan.layer_values import value_of
from effbench.plan.stage import Stage


@dataclass(frozen=True, kw_only=True)
class QuantizeInputs(Stage, InputGridOptions):
    """Round the inputs of convolution and linear layers to affine grids (arXiv:1806.08342, sections 2.1 and 3.1).

    One grid per tensor, its range fixed by a pass over training examples. Where a recipe finetunes after this stage,
    training is quantisation-aware. Simulated: the arithmetic is that of floats on the grid, as fast as theirs. A layer
    that the network does not call as a module (attention's projection) keeps its input, and the run says so.

    Activations that are multiplied with each other are rounded as well, each operand on a grid of its own: queries and
    keys, the shares that a softmax makes of their products, and values, in `nn.MultiheadAttention`, in
    `F.scaled_dot_product_attention` and where a module writes matmul, bmm or einsum (`activation_products`). The run
    says in which modules.
    """

    VERSION: ClassVar[int] = 3
    LAYER_FIELD: ClassVar[str | None] = "bits"
    ACTS_ON_MODULES: ClassVar[bool] = True

    bits: Annotated[int, Field(ge=1, le=16)]
    """Width of an activation."""

    def for_network(self, network: nn.Module, images: Tensor, /) -> QuantizeInputs:
        """Return the stage, with `products` true for a network that has such."""
        return self.with_products(network, images)

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` whose layers round their inputs; grids that were there are replaced."""
        quantized = copy_network(model)
        bits = self.values_by_layer(quantized, context)
        for module in quantized.modules():
            clear_input(module, ProductGrids)
        found = self.multiplying(quantized, context)
        widths = {name: self._bits_of(name) or self.bits for name in outermost(found, self._bits_of)}
        for name in bits:
            clear_input(quantized.get_submodule(name), InputGrid)
        grids, of_products = self.calibrated(quantized, bits, widths, context)
        if widths:
            context.findings.say(f"products/{context.step}", few_names(list(of_products)))
        for held in (of_products, grids):
            for name, grid in held.items():
                set_input(quantized.get_submodule(name), grid)
        self.say_share(grids, quantized, context)
        return quantized

    def _bits_of(self, name: str) -> int | None:
        """Return the width of what a module multiplies; None where it is skipped."""
        width: int | None = value_of(self.layers, name, default=self.bits)
        return width
