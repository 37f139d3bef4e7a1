"""A network as a torch.export program in which layers on 8-bit grids have their own codes, scales and zero points.

XNNPACK computes a layer with integers where its output is quantised as well: dequantize, layer, perhaps a ReLU,
quantize. It is where another layer's input grid follows. Rounding to a grid commutes with whatever keeps the order of
values, so that a grid behind a pooling or a ReLU is set before it, too: not a value changes.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.nn import functional

from effbench.checks.text import few_names
from effbench.compression.constraints.layer_inputs import InputGrid, set_input
from effbench.compression.structure.batch_norms import fold_batch_norms
from effbench.measure.int8_layers import MOST_BITS, Int8Layer, int8_layers, without_grids
from effbench.measure.onnx_nodes import factors_between, n_calls, overflows

import os
DYN=bool(os.environ.get('DYN'))
_SHIFT = 128
"""Codes of inputs are unsigned in effbench, signed here."""
_LEAST_RATIO, _LARGEST_RATIO = 2.0**-32, 256.0
"""Of the scale of products to that of the output; XNNPACK refuses others."""
_FUSED = ("relu", "hardtanh")
"""What a layer's kernel can do to its output."""
_KEEP_ORDER = (*_FUSED, "max_pool2d", "view", "reshape", "permute", "transpose", "squeeze", "unsqueeze")
"""Operations that leave the order of values as it is, and so can come after rounding."""
_INT32_MAX = 2**31 - 1
"""Of a bias in steps of the products' scale."""


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
    layers = int8_layers(model)
    if not layers:
        plain = without_grids(model, set()).requires_grad_(False)
        return Program(exported=torch.export.export(plain, (example_input,)), int8={}, notes=())
    plain = without_grids(model, set(layers)).requires_grad_(False)
    fold_batch_norms(plain, example_input)
    calls = n_calls(plain, layers, example_input)
    for name, layer in layers.items():
        own = plain.get_submodule(name)
        codes = _with_codes(own, layer) if calls[name] else None
        if codes is None:
            set_input(own, layer.input_grid)
        else:
            plain = _replaced(plain, name, codes)
    module = torch.export.export(plain, (example_input,)).run_decompositions({}).module()
    assert isinstance(module, GraphModule)
    int8 = {name: layers[name] for name in _settle(module)}
    missing = [name for name in layers if name not in int8]
    return Program(
        exported=torch.export.export(module, (example_input,)),
        int8=int8,
        notes=(f"computed in floats, as no grid follows at once: {few_names(missing)}",) if missing else (),
    )


class _CodedLayer(nn.Module):
    """A layer that takes its input's codes and its own weight's apart again, and computes with them."""

    weight_codes: Tensor
    weight_scales: Tensor
    weight_zeros: Tensor

    def __init__(self, layer: nn.Conv2d | nn.Linear, grid: InputGrid, codes: Tensor, scales: Tensor) -> None:
        super().__init__()
        self._compute = _computation(layer)
        self._grid = grid
        self.register_buffer("weight_codes", codes)
        self.register_buffer("weight_scales", scales)
        self.register_buffer("weight_zeros", torch.zeros(len(scales), dtype=torch.int64))
        # XNNPACK wants one, and in this dtype
        self.register_buffer("bias", torch.zeros(len(scales)) if layer.bias is None else layer.bias.detach())

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's layers name it so)
        grid = self._grid
        if grid.bits < MOST_BITS:  # the codes go up to 127
            low, high = ((code - grid.zero_point) * grid.scale for code in (0, 2**grid.bits - 1))
            input = functional.hardtanh(input, low, high)  # noqa: A001
        ops, zero_point = torch.ops.quantized_decomposed, grid.zero_point - _SHIFT
        codes = ops.quantize_per_tensor(input, grid.scale, zero_point, -128, 127, torch.int8)
        values = ops.dequantize_per_tensor(codes, grid.scale, zero_point, -128, 127, torch.int8)
        weight = ops.dequantize_per_channel(
            self.weight_codes, self.weight_scales, self.weight_zeros, 0, -128, 127, torch.int8
        )
        return self._compute(values, weight, self.bias)


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


def _replaced(network: nn.Module, name: str, module: nn.Module) -> nn.Module:
    """Return the network with another module in a place; where it is the place of all, that module."""
    if not name:
        return module
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)
    return network


def _settle(module: GraphModule) -> list[str]:
    """Bring the graph into XNNPACK's form, in place: floats where there is none. Returns the coded layers' names."""
    for node in list(module.graph.nodes):
        if node.op == "call_module":  # torch.export's look at the sizes of inputs
            module.graph.erase_node(node)
        elif node.users:
            _merge_equal(node)
    coded: dict[str, None] = {}
    for node in list(module.graph.nodes):
        weight = node.args[1] if len(node.args) > 1 else None
        if not (isinstance(weight, Node) and _is(weight, "dequantize_per_channel")):
            continue
        quantize = _round_at_once(node)
        if quantize is not None and _is_within_reach(module, node, quantize):
            coded[_path(weight.args[0]).rpartition(".")[0]] = None
        elif DYN and _can_round_again(module, node):
            _round_again(node)
            coded[_path(weight.args[0]).rpartition(".")[0]] = None
        else:
            _set_floats(module, weight)
    module.graph.eliminate_dead_code()
    _forget_unused(module)
    module.recompile()
    return list(coded)


def _merge_equal(source: Node) -> None:
    """Leave one of the nodes that round the same values to the same grid."""
    first: dict[tuple[Any, ...], Node] = {}
    for user in list(source.users):
        if _is(user, "quantize_per_tensor") and first.setdefault(user.args[1:], user) is not user:
            user.replace_all_uses_with(first[user.args[1:]])
            user.graph.erase_node(user)


def _round_at_once(layer: Node) -> Node | None:
    """Return the node that rounds a layer's output, behind an activation at most, set there from further behind.

    None where something else takes the output, or it is not rounded next.
    """
    behind, node = [], layer
    while len(node.users) == 1:
        (node,) = node.users
        if _is(node, "quantize_per_tensor"):
            break
        if not _is(node, *_KEEP_ORDER):
            return None
        behind.append(node)
    else:
        return None
    quantize = node
    if behind and _is(behind[0], *_FUSED):
        behind = behind[1:]
    for later in reversed(behind):
        before = later.args[0]
        assert isinstance(before, Node)
        with later.graph.inserting_before(later):
            ops = torch.ops.quantized_decomposed
            quantize = later.graph.call_function(ops.quantize_per_tensor.default, (before, *node.args[1:]))
            values = later.graph.call_function(ops.dequantize_per_tensor.default, (quantize, *node.args[1:]))
        later.replace_input_with(before, values)
    return quantize


def _is_within_reach(module: GraphModule, layer: Node, quantize: Node) -> bool:
    """Whether XNNPACK's scales and biases can hold those of a layer."""
    values, weight, bias = layer.args[:3]
    assert isinstance(values, Node) and isinstance(weight, Node)
    scales = _tensor(module, weight.args[1]).double() * _number(values.args[1])
    ratios = scales / _number(quantize.args[1])
    steps = _tensor(module, bias).double().abs() / scales
    return bool((ratios >= _LEAST_RATIO).all() and (ratios < _LARGEST_RATIO).all() and (steps < _INT32_MAX).all())


def _can_round_again(module: GraphModule, layer: Node) -> bool:
    """Whether XNNPACK has a kernel that rounds a layer's input as it finds it: none for depthwise convolutions."""
    if _is(layer, "linear"):
        return True
    weight = layer.args[1]
    assert isinstance(weight, Node)
    groups = layer.args[6] if len(layer.args) > 6 else 1
    return groups == 1


def _round_again(layer: Node) -> None:
    """Have a layer's input rounded once more, to 8 bits between its own ends, in each run."""
    values = layer.args[0]
    assert isinstance(values, Node)
    ops, call = torch.ops.quantized_decomposed, layer.graph.call_function
    with layer.graph.inserting_before(layer):
        found = call(ops.choose_qparams.tensor, (values, -128, 127, torch.finfo(torch.float32).eps, torch.int8))
        scale, zero_point = (call(operator.getitem, (found, index)) for index in range(2))
        codes = call(ops.quantize_per_tensor.tensor, (values, scale, zero_point, -128, 127, torch.int8))
        again = call(ops.dequantize_per_tensor.tensor, (codes, scale, zero_point, -128, 127, torch.int8))
    layer.replace_input_with(values, again)


def _forget_unused(module: GraphModule) -> None:
    """Take away the constants that the graph has no use for: they would stand in the file."""
    used = {str(node.target) for node in module.graph.nodes if node.op == "get_attr"}
    for name, _ in list(module.named_buffers()):
        if name not in used:
            parent, _, child = name.rpartition(".")
            delattr(module.get_submodule(parent), child)


def _set_floats(module: GraphModule, weight: Node) -> None:
    """Put the weights that codes stand for in their place."""
    codes, scales = (_tensor(module, argument) for argument in weight.args[:2])
    name = f"{weight.name}_floats"
    module.register_buffer(name, codes.float() * scales.reshape(-1, *[1] * (codes.ndim - 1)))
    with weight.graph.inserting_before(weight):
        weight.replace_all_uses_with(weight.graph.get_attr(name))


def _is(node: Node, *names: str) -> bool:
    """Whether a node calls an operation of one of these names."""
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.name.rpartition("::")[2] in names


def _path(node: Any) -> str:
    assert isinstance(node, Node) and node.op == "get_attr"
    return str(node.target)


def _tensor(module: GraphModule, node: Any) -> Tensor:
    """Return the constant that a node stands for."""
    found = operator.attrgetter(_path(node))(module)
    assert isinstance(found, Tensor)
    return found


def _number(value: Any) -> float:
    assert isinstance(value, float)
    return value
