"""The forms in which XNNPACK has kernels for layers of 8-bit codes; a graph is brought into them.

A layer is computed with integers where its output is quantised as well: dequantize, layer, perhaps a ReLU, quantize. So
it is where another layer's input grid follows. Rounding to a grid commutes with whatever keeps the order of values: a
grid behind a pooling or a ReLU is set before it, too, and not a value changes. Where no grid follows, there are kernels
from integers to floats for inputs that XNNPACK rounds itself, to the least and the largest value that it finds in each
run: the input, on its own grid already, is rounded once more, by half a step at most. Grouped convolutions have no such
kernel: they are computed with floats.
"""

from __future__ import annotations

import operator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

Form = Literal["integers", "rounded again", "floats"]
_LEAST_RATIO, _LARGEST_RATIO = 2.0**-32, 256.0
"""Of the scale of products to that of the output; XNNPACK refuses others."""
_FUSED = ("relu", "relu6", "hardtanh")
"""What a layer's kernel can do to its output."""
_KEEP_ORDER = (*_FUSED, "max_pool2d", "view", "reshape", "permute", "transpose", "squeeze", "unsqueeze")
"""Operations that leave the order of values as it is, and so can come after rounding."""
_INT32_MAX = 2**31 - 1
"""Of a bias in steps of the products' scale."""


def settle(module: GraphModule, /) -> dict[str, set[Form]]:
    """Bring the graph into XNNPACK's forms, in place. Returns those of each layer's calls, by the layers' names."""
    for node in list(module.graph.nodes):
        if node.op == "call_module":  # torch.export's look at the sizes of inputs
            module.graph.erase_node(node)
        else:
            _merge_equal(node)
    forms: dict[str, set[Form]] = {}
    for weight in list(module.graph.nodes):
        if _is(weight, "dequantize_per_channel"):
            form = _settle_layer(module, weight)
            forms.setdefault(_path(weight.args[0]).rpartition(".")[0], set()).add(form)
    module.graph.eliminate_dead_code()
    _forget_unused(module)
    module.recompile()
    return forms


def _settle_layer(module: GraphModule, weight: Node) -> Form:
    """Bring a layer into one of XNNPACK's forms, and return which."""
    (layer, *others) = weight.users
    if not others and _is(layer, "conv2d", "linear") and layer.args[1] is weight:
        quantize = _round_at_once(layer)
        if quantize is not None and _is_within_reach(module, layer, quantize):
            return "integers"
        if _is(layer, "linear") or layer.args[6:] in ((), (1,)):  # the last argument is the number of groups
            _round_again(layer)
            return "rounded again"
    _set_floats(module, weight)
    return "floats"


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
