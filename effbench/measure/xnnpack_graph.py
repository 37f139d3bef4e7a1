"""A network as a torch.export program in which layers on 8-bit grids have their own codes, scales and zero points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule
from torch.nn import functional

from effbench.checks.text import few_names
from effbench.compression.constraints.layer_inputs import InputGrid, set_input
from effbench.compression.structure.batch_norms import fold_batch_norms
from effbench.measure.int8_layers import MOST_BITS, Int8Layer, int8_layers, without_grids
from effbench.measure.onnx_nodes import factors_between, n_calls, overflows
from effbench.measure.xnnpack_forms import settle

_SHIFT = 128
"""Codes of inputs are unsigned in effbench, signed here."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """An exported network, and what of it XNNPACK can compute with integers."""

    exported: ExportedProgram
    int8: Mapping[str, Int8Layer]
    """The layers whose codes it holds, by their names."""
    notes: tuple[str, ...]
    """What is left in floats although its grids are narrow enough, a line each."""

    @property
    def int8_weights(self) -> int:
        """How many weights are codes."""
        return sum(layer.codes.numel() for layer in self.int8.values())


def to_program(model: nn.Module, example_input: Tensor, /) -> Program:
    """Return the program of a network, in evaluation mode, for inputs of the example's size; the network is left alone.

    What torch.export raises passes.
    """
    import torch.ao.quantization.fx._decomposed  # its operations are registered then

    layers = int8_layers(model)
    if not layers:
        plain = without_grids(model, set()).requires_grad_(False)
        return Program(exported=torch.export.export(plain, (example_input,)), int8={}, notes=())
    coded = _with_coded_layers(model, layers, example_input)
    module = torch.export.export(coded, (example_input,)).run_decompositions({}).module()
    assert isinstance(module, GraphModule)
    forms = settle(module)
    again = [name for name in layers if "rounded again" in forms.get(name, ())]
    floats = [name for name in layers if forms.get(name, {"floats"}) == {"floats"}]
    notes = (
        (f"inputs rounded once more in each run, as no grid follows: {few_names(again)}" if again else ""),
        (f"computed in floats, as XNNPACK has no kernel of integers for them: {few_names(floats)}" if floats else ""),
    )
    return Program(
        exported=torch.export.export(module, (example_input,)),
        int8={name: layer for name, layer in layers.items() if name not in floats},
        notes=tuple(note for note in notes if note),
    )


def _with_coded_layers(model: nn.Module, layers: Mapping[str, Int8Layer], example_input: Tensor) -> nn.Module:
    """Return a copy of a network whose layers on grids compute with their codes, norms behind them folded in."""
    plain = without_grids(model, set(layers)).requires_grad_(False)
    fold_batch_norms(plain, example_input)
    calls = n_calls(plain, layers, example_input)
    for name, layer in layers.items():
        own = plain.get_submodule(name)
        codes = _with_codes(own, layer) if calls[name] else None
        if codes is None:
            set_input(own, layer.input_grid)
        else:
            plain = _replaced(plain, own, codes)
    return plain


class _CodedLayer(nn.Module):
    """A layer that takes its input's codes and its own weight's apart again, and computes with them."""

    weight_codes: Tensor
    weight_scales: Tensor
    weight_zeros: Tensor
    bias: Tensor

    def __init__(self, layer: nn.Conv2d | nn.Linear, grid: InputGrid, codes: Tensor, scales: Tensor) -> None:
        super().__init__()
        self._compute = _computation(layer)
        self._grid = grid
        self.register_buffer("weight_codes", codes)
        self.register_buffer("weight_scales", scales)
        self.register_buffer("weight_zeros", torch.zeros(len(scales), dtype=torch.int64))
        self.register_buffer("bias", torch.zeros(len(scales)) if layer.bias is None else layer.bias.detach())

    @property
    def weight(self) -> Tensor:
        """The weight as floats, for whoever else reads it."""
        found: Tensor = torch.ops.quantized_decomposed.dequantize_per_channel(
            self.weight_codes, self.weight_scales, self.weight_zeros, 0, -128, 127, torch.int8
        )
        return found

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's layers name it so)
        """Compute the layer, its input rounded to the grid."""
        grid = self._grid
        if grid.bits < MOST_BITS:  # the codes go up to 127
            low, high = ((code - grid.zero_point) * grid.scale for code in (0, 2**grid.bits - 1))
            input = functional.hardtanh(input, low, high)  # noqa: A001
        ops, zero_point = torch.ops.quantized_decomposed, grid.zero_point - _SHIFT
        codes = ops.quantize_per_tensor(input, grid.scale, zero_point, -128, 127, torch.int8)
        values = ops.dequantize_per_tensor(codes, grid.scale, zero_point, -128, 127, torch.int8)
        return self._compute(values, self.weight, self.bias)


def _computation(layer: nn.Conv2d | nn.Linear) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    if isinstance(layer, nn.Linear):
        return functional.linear
    options = (layer.stride, layer.padding, layer.dilation, layer.groups)
    return lambda values, weight, bias: functional.conv2d(values, weight, bias, *options)  # type: ignore[arg-type]


def _with_codes(own: nn.Module, layer: Int8Layer) -> _CodedLayer | None:
    """Return what computes a layer with its codes, those of a norm folded into it; None where they are no codes."""
    if not isinstance(own, nn.Conv2d | nn.Linear) or getattr(own, "padding_mode", "zeros") != "zeros":
        return None
    factors = factors_between(own.weight.detach().numpy(), layer.values.numpy())
    if factors is None or overflows(layer, factors):
        return None
    signs = torch.from_numpy(np.sign(factors).astype(np.int8))
    codes = layer.codes * signs.reshape(-1, *[1] * (layer.codes.ndim - 1))
    scales = layer.scales * torch.from_numpy(np.where(factors == 0, np.float32(1), np.abs(factors)))
    return _CodedLayer(own, layer.input_grid, codes, scales)


def _replaced(network: nn.Module, own: nn.Module, module: nn.Module) -> nn.Module:
    """Return the network with a module in all places of one of its own, in place unless that is the network."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if child is own:
                setattr(parent, name, module)
    return module if network is own else network
