"""What stages share that put activations on grids: which ones, and over what range."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field
from torch import Tensor, nn

from effbench.compression.constraints.activation_products import modules_that_multiply
from effbench.compression.constraints.copies import copy_network
from effbench.compression.constraints.layer_inputs import InputGrid, ProductGrids
from effbench.compression.constraints.ranges import Range, ScaleKind
from effbench.plan.context import Context
from effbench.training.calibration import RangeRule, calibrate, calibrate_products


@dataclass(frozen=True, kw_only=True)
class InputGridOptions:
    """How activations are put on grids."""

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

    def multiplying(self, network: nn.Module, context: Context, /) -> Sequence[str]:
        """Return the modules whose products are to be rounded, those within others among them."""
        return [] if self.products is False else modules_that_multiply(network, context.example())

    def calibrated(
        self, network: nn.Module, layers: Mapping[str, int], modules: Mapping[str, int], context: Context, /
    ) -> tuple[dict[str, InputGrid], dict[str, ProductGrids]]:
        """Return grids for the inputs of layers, and for the products of modules, that run; by name, as the widths are.

        network: without such grids on them; it runs over training examples. See `training.calibration`.
        """
        images = list(context.training_images(self.examples))
        rule = RangeRule(covered=self.range, percentile=self.percentile, scale=self.scale)
        named = {name: network.get_submodule(name) for name in layers}
        grids = calibrate(network, named, images, bits=layers, rule=rule, device=context.device)
        if not modules:
            return grids, {}
        named = {name: network.get_submodule(name) for name in modules}
        return grids, calibrate_products(network, named, images, bits=modules, rule=rule, device=context.device)


def outermost(found: Sequence[str], value_of: Callable[[str], float | None], /) -> list[str]:
    """Return the modules whose products are rounded: what stands within one of them multiplies as a part of it.

    value_of: what each is given; None where it is skipped. ValueError where a part is to have another value.

    >>> outermost(["block", "block.attention", "other"], {"block": 8, "block.attention": 8, "other": None}.get)
    ['block']
    """
    chosen = [name for name in found if value_of(name) is not None]
    parts = {part: whole for whole in chosen for part in found if _is_within(part, whole)}
    for part, whole in parts.items():
        if value_of(part) != value_of(whole):
            raise ValueError(f"layers: {part} multiplies within {whole or 'the network'}: give both one value")
    return [name for name in chosen if name not in parts]


def _is_within(part: str, whole: str) -> bool:
    return part != whole and part.startswith(f"{whole}." if whole else "")
