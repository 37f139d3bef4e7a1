"""Quantisation of the activations: what goes into convolutions, linear layers and attention's products is on a grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field
from torch import Tensor, nn

from effbench.checks.patterns import matches
from effbench.checks.text import few_names
from effbench.compression.constraints.activation_products import modules_that_multiply
from effbench.compression.constraints.copies import copy_network
from effbench.compression.constraints.layer_inputs import InputGrid, ProductGrids, clear_input, set_input
from effbench.compression.constraints.ranges import Range, ScaleKind
from effbench.plan.context import Context
from effbench.plan.layer_values import SKIP
from effbench.plan.stage import Stage
from effbench.training.calibration import RangeRule, calibrate, calibrate_products


@dataclass(frozen=True, kw_only=True)
class InputGridOptions:
    """How activations are put on grids: what stages that do so have in common."""

    range: Range = "max"
    """What the grid covers of what was seen: everything, a percentile, or what has the least squared error."""
    percentile: Annotated[float, Field(ge=50, le=100)] = 99.9
    """Of range=percentile: the share of the non-zero inputs that is covered, in percent; for each sign."""
    scale: ScaleKind = "real"
    """Of the grid: any number, or a power of two. With such scales of the weights, too, the products of a layer are
    fixed-point numbers; biases and batch norms stay floats."""
    examples: Annotated[int, Field(ge=1)] = 1000
    """Training examples seen; all of them where there are fewer."""
    products: bool | Literal["auto"] = "auto"
    """Whether operands of products of activations are rounded; auto: where there are any, which a key then says."""

    def with_products(self, network: nn.Module, images: Tensor, /) -> Self:
        """Return the options, with `products` true for a network that has such."""
        if self.products == "auto" and modules_that_multiply(copy_network(network), images):
            return dataclasses.replace(self, products=True)
        return self


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
        layers = {name: quantized.get_submodule(name) for name in bits}
        for module in quantized.modules():
            clear_input(module, ProductGrids)
        found = [] if self.products is False else modules_that_multiply(quantized, context.example())
        modules = {name: quantized.get_submodule(name) for name in self._outermost(found)}
        for layer in layers.values():
            clear_input(layer, InputGrid)
        images = list(context.training_images(self.examples))
        rule = RangeRule(covered=self.range, percentile=self.percentile, scale=self.scale)
        grids = calibrate(quantized, layers, images, bits=bits, rule=rule, device=context.device)
        if modules:
            widths = {name: self._bits_of(name) or self.bits for name in modules}
            of_products = calibrate_products(quantized, modules, images, bits=widths, rule=rule, device=context.device)
            for name, grids_of_module in of_products.items():
                set_input(modules[name], grids_of_module)
            context.findings.say(f"products/{context.step}", few_names(list(of_products)))
        for name, grid in grids.items():
            set_input(layers[name], grid)
        self.say_share(grids, quantized, context)
        return quantized

    def _outermost(self, found: Sequence[str]) -> list[str]:
        """Return the modules whose products are rounded: what stands within one of them multiplies as a part of it.

        ValueError where a part is to have another width.
        """
        chosen = [name for name in found if self._bits_of(name) is not None]
        parts = {part: whole for whole in chosen for part in found if _is_within(part, whole)}
        for part, whole in parts.items():
            if self._bits_of(part) != self._bits_of(whole):
                raise ValueError(f"layers: {part} multiplies within {whole or 'the network'}: give both one value")
        return [name for name in chosen if name not in parts]

    def _bits_of(self, name: str) -> int | None:
        """Return the width of what a module multiplies; None where it is skipped."""
        value = next((value for pattern, value in self.layers.items() if matches(pattern, name)), self.bits)
        return None if value == SKIP else value


def _is_within(part: str, whole: str) -> bool:
    return part != whole and part.startswith(f"{whole}." if whole else "")
