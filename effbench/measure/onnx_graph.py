"""A network as an ONNX graph; layers on 8-bit grids with their own codes, scales and zero points.

Such a layer's node stands between QuantizeLinear and DequantizeLinear nodes (the QDQ form), which engines read as: this
is to be computed with integers. What an engine does not fuse it computes in floats, to the same values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from effbench.checks.errors import first_line
from effbench.checks.text import few_names
from effbench.measure.engine_files import silently
from effbench.measure.int8_layers import MOST_BITS, Int8Layer, int8_layers, without_grids
from effbench.measure.onnx_nodes import Place, n_calls, places_of

INPUT, OUTPUT = "input", "output"
_INT32_MAX = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Graph:
    """An ONNX model (an `onnx.ModelProto`), and what of the network is computed with integers in it."""

    proto: Any
    int8: Mapping[str, Int8Layer]
    """The layers in the QDQ form, by their names."""
    notes: tuple[str, ...]
    """What is left in floats although its grids are narrow enough, a line each."""

    @property
    def int8_weights(self) -> int:
        """How many weights are in the QDQ form."""
        return sum(layer.codes.numel() for layer in self.int8.values())


WeightType = Literal["int8", "uint8"]
"""Of the codes of weights; unsigned ones are 128 higher."""


def to_onnx(model: nn.Module, example_input: Tensor, /, *, weights: WeightType = "int8") -> Graph:
    """Return the graph of a network, in evaluation mode, for inputs of the example's size; the network is left alone.

    ValueError, in a line, where torch.export or the exporter can't follow it.
    """
    layers = int8_layers(model)
    found = set(layers)
    while True:
        plain = without_grids(model, found)
        proto = _exported(plain, example_input)
        places = places_of(layers, proto, plain, calls=n_calls(plain, layers, example_input))
        if found <= places.keys():
            break
        found &= places.keys()  # the inputs of the others are rounded in floats then
    for name in layers:
        for place in places[name] if name in found else ():
            _quantize(place, layers[name], proto, 128 if weights == "uint8" else 0)
    missing = [name for name in layers if name not in found]
    notes = (f"computed in floats, as no node of the graph is theirs alone: {few_names(missing)}",) if missing else ()
    _sort(proto)
    _forget_sources(proto)
    return Graph(proto=proto, int8={name: layers[name] for name in layers if name in found}, notes=notes)


def _exported(model: nn.Module, example_input: Tensor) -> Any:
    """Return the ModelProto of a plain network."""
    try:
        with silently(), torch.no_grad():
            program = torch.onnx.export(
                model, (example_input,), dynamo=True, input_names=[INPUT], output_names=[OUTPUT], verbose=False
            )
    except Exception as error:  # whatever the exporter raises: it is the network that it can't follow
        raise ValueError(f"it can't be written as ONNX: {first_line(error)}") from None
    assert program is not None
    return program.model_proto


def _quantize(place: Place, layer: Int8Layer, proto: Any, shift: int) -> None:
    """Put a node between the QDQ nodes of its layer, in place. shift: of the weights' codes."""
    from onnx import helper, numpy_helper

    graph, node, grid = proto.graph, place.node, layer.input_grid
    prefix = f"{layer.name}/{node.input[1]}"  # a layer that is called twice has its codes once

    def constant(name: str, values: NDArray[Any] | np.generic[Any]) -> str:
        if all(one.name != name for one in graph.initializer):
            graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def add(kind: str, inputs: Iterable[str], output: str, **attributes: Any) -> str:
        if all(output not in other.output for other in graph.node):
            graph.node.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    source = node.input[0]
    on_grid = f"{source}/{grid.bits}/{grid.scale}/{grid.zero_point}"
    scale = constant(f"{on_grid}/scale", np.float32(grid.scale))
    zero_point = constant(f"{on_grid}/zero_point", np.uint8(grid.zero_point))
    if grid.bits < MOST_BITS:  # an engine's codes go up to 255
        ends = np.array([-grid.zero_point, 2**grid.bits - 1 - grid.zero_point], np.float32) * np.float32(grid.scale)
        low, high = (constant(f"{on_grid}/{name}", end) for name, end in zip(("low", "high"), ends, strict=True))
        source = add("Clip", [source, low, high], f"{on_grid}/clipped")
    codes = add("QuantizeLinear", [source, scale, zero_point], f"{on_grid}/codes")
    node.input[0] = add("DequantizeLinear", [codes, scale, zero_point], f"{on_grid}/values")

    signs = np.sign(place.factors).astype(np.int8)
    weights = layer.codes.numpy() * signs.reshape(-1, *[1] * (layer.codes.ndim - 1))
    if shift:
        weights = (weights.astype(np.int16) + shift).astype(np.uint8)
    scales = layer.scales.numpy() * np.where(signs == 0, np.float32(1), np.abs(place.factors))
    weight = constant(f"{prefix}/weight", np.ascontiguousarray(weights.T if place.axis else weights))
    weight_scale = constant(f"{prefix}/weight_scale", scales)
    no_shift = constant(f"{prefix}/weight_zero_point", np.full(len(scales), shift, weights.dtype))
    node.input[1] = add(
        "DequantizeLinear", [weight, weight_scale, no_shift], f"{prefix}/weight_values", axis=place.axis
    )
    if len(node.input) > 2 and node.input[2]:
        node.input[2] = _quantized_bias(node.input[2], np.float32(grid.scale) * scales, prefix, graph, constant, add)


def _quantized_bias(
    name: str,
    scales: NDArray[np.float32],
    prefix: str,
    graph: Any,
    constant: Callable[[str, NDArray[Any]], str],
    add: Callable[..., str],
) -> str:
    """Return the name of a bias in whole steps of the products' scales; its own where it is too large for them."""
    from onnx import numpy_helper

    found = [one for one in graph.initializer if one.name == name]
    if not found:
        return name
    with np.errstate(divide="ignore", invalid="ignore"):  # scales that are too small for float32
        steps = np.round(numpy_helper.to_array(found[0]).astype(np.float64) / scales)
    if not np.abs(steps).max(initial=0) <= _INT32_MAX:
        return name
    prefix = f"{prefix}/{name}"
    bias, scale = constant(f"{prefix}/bias", steps.astype(np.int32)), constant(f"{prefix}/bias_scale", scales)
    no_shift = constant(f"{prefix}/bias_zero_point", np.zeros(len(scales), np.int32))
    return add("DequantizeLinear", [bias, scale, no_shift], f"{prefix}/bias_values", axis=0)


def cuts_products_off(run: Callable[[bytes, NDArray[np.float32]], NDArray[np.float32]], /) -> bool:
    """Whether an engine's kernels for unsigned inputs and signed weights lose products of large codes here.

    run: what runs the bytes of an ONNX file on an input. On x86-64 processors without VNNI, sums of two products are
    cut off at 16 bits (`vpmaddubsw`; onnxruntime#6004): a convolution of the largest codes says whether that is so.
    """
    from onnx import TensorProto, helper, numpy_helper

    n_inputs, side = 16, 8
    values = {
        "scale": np.float32(1),
        "zero": np.uint8(0),
        "weight": np.full((8, n_inputs, 3, 3), 127, np.int8),
        "no_shift": np.int8(0),
        "out_scale": np.float32(n_inputs * 9 * 127),
    }
    nodes = [
        helper.make_node("QuantizeLinear", [INPUT, "scale", "zero"], ["codes"]),
        helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["values"]),
        helper.make_node("DequantizeLinear", ["weight", "scale", "no_shift"], ["weights"]),
        helper.make_node("Conv", ["values", "weights"], ["sums"]),
        helper.make_node("QuantizeLinear", ["sums", "out_scale", "zero"], ["out_codes"]),
        helper.make_node("DequantizeLinear", ["out_codes", "out_scale", "zero"], [OUTPUT]),
    ]
    graph = helper.make_graph(
        nodes,
        "largest_codes",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, n_inputs, side, side])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, 8, side - 2, side - 2])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    answer = run(proto.SerializeToString(), np.full((1, n_inputs, side, side), 255, np.float32))
    expected = 255 * n_inputs * 9 * 127
    return bool(np.abs(answer - expected).max() > 0.01 * expected)


def _forget_sources(proto: Any) -> None:
    """Take away, in place, where in the user's sources each node comes from: paths, a tenth of a small file."""
    graph = proto.graph
    del graph.value_info[:], graph.metadata_props[:], proto.metadata_props[:]
    graph.doc_string = proto.doc_string = ""
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]


def _sort(proto: Any) -> None:
    """Put the nodes into an order in which each comes after what it takes; drop constants that nothing takes."""
    graph = proto.graph
    made = {name.name for name in (*graph.initializer, *graph.input)} | {""}
    waiting, ordered = list(graph.node), []
    while waiting:
        ready = [node for node in waiting if all(name in made for name in node.input)]
        assert ready, "a node takes what nothing makes"
        for node in ready:
            made.update(node.output)
        ordered += ready
        waiting = [node for node in waiting if all(node is not one for one in ready)]
    copies = [type(node).FromString(node.SerializeToString()) for node in ordered]
    taken = {name for node in copies for name in node.input}
    kept = [one for one in graph.initializer if one.name in taken]
    del graph.node[:]
    graph.node.extend(copies)
    del graph.initializer[:]
    graph.initializer.extend(kept)
