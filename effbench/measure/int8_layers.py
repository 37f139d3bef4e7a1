"""Which layers of a network engines can compute with 8-bit integers: weights and inputs are on grids of so few levels.

A layer whose weights alone are on a grid multiplies floats: nothing is gained by handing its codes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from effbench.compression.constraints.layer_inputs import InputGrid, clear_input, grid_on
from effbench.compression.constraints.quantizer import QuantizedTensor
from effbench.compression.constraints.stack import bake, constrained_value, native_form
from effbench.compression.layers import weight_layers

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
MOST_BITS = 8


@dataclass(frozen=True, kw_only=True)
class Int8Layer:
    """A layer as integers: output = (input codes - zero point) x weight codes x the product of both scales + bias."""

    name: str
    input_grid: InputGrid
    codes: Tensor
    """Of the weights, int8, in the weight's shape; zero is 0."""
    scales: Tensor
    """Of the weights, float32, (n_out,)."""

    @property
    def values(self) -> Tensor:
        """The weights as floats, as the network has them, to the bit."""
        return self.codes.float() * self.scales.reshape(-1, *[1] * (self.codes.ndim - 1))


def int8_layers(model: nn.Module, /) -> dict[str, Int8Layer]:
    """Return the layers of `model` that integers can compute, by their names.

    Inputs are on an affine grid of at most 8 bits, weights on grids of at most 8 bits, one per output channel or one in
    all, whose codes, counted from the zero points, are -128 to 127. Transposed convolutions are none of them: their
    grids go along what they take in.
    """
    return {layer.name: layer for layer in _found(model)}


def _found(model: nn.Module) -> Iterator[Int8Layer]:
    for name, layer in weight_layers(model):
        grid = grid_on(layer)
        if not isinstance(layer, LAYERS) or grid is None or grid.bits > MOST_BITS:
            continue
        stored = native_form(layer, "weight")
        if not isinstance(stored, QuantizedTensor) or stored.is_power or stored.bits > MOST_BITS:
            continue
        zero_points = stored.zero_point.reshape(-1, *[1] * (stored.codes.ndim - 1))
        steps = stored.codes - zero_points
        if int(steps.min()) < -128 or int(steps.max()) > 127:
            continue
        scales = stored.scale.reshape(-1).expand(len(steps)).contiguous()
        found = Int8Layer(name=name, input_grid=grid, codes=steps.to(torch.int8), scales=scales)
        if torch.equal(found.values, constrained_value(layer, "weight").float()):
            yield found


def without_grids(model: nn.Module, layers: Iterator[str] | set[str], /) -> nn.Module:
    """Return a copy of `model` in evaluation mode without constraints, and without the grids on the inputs of `layers`.

    What else rounds an input goes on doing so, in floats.
    """
    plain = bake(model).eval()
    for name in layers:
        clear_input(plain.get_submodule(name), InputGrid)
    return plain
