"""Which nodes of an ONNX graph compute which layers of the network that it was written of."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from effbench.measure.int8_layers import LAYERS, Int8Layer

_CLOSE = 1e-5
"""How far, as a share of the largest, weights may be from the multiples of a layer's: the exporter folds norms."""
_SCOPES = "pkg.torch.onnx.name_scopes"
"""Where torch's exporter says which modules a node comes from: those around it, then its operation."""


@dataclass(frozen=True)
class Place:
    """A node that computes a layer."""

    node: Any
    axis: int
    """Of the weight as it stands in the graph: along which its output channels lie."""
    factors: NDArray[np.float32]
    """By which the graph's weights are the layer's, (n_out,): a norm that was folded."""


def n_calls(model: nn.Module, layers: Mapping[str, Int8Layer], example_input: Tensor, /) -> Counter[str]:
    """Return how often a forward pass of `model`, which is in evaluation mode, calls each of `layers`."""
    calls: Counter[str] = Counter()
    hooks = [
        model.get_submodule(name).register_forward_hook(lambda *_, name=name: calls.update([name])) for name in layers
    ]
    try:
        with torch.no_grad():
            model(example_input)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def places_of(
    layers: Mapping[str, Int8Layer], proto: Any, model: nn.Module, /, *, calls: Mapping[str, int]
) -> dict[str, list[Place]]:
    """Return the nodes that compute each layer, by the layers' names.

    model: what the graph was written of. calls: how often it calls each layer. A layer is left out that has another
    number of nodes, and one whose node may as well be another's: an engine would round what the network does not.
    """
    places = {name: _nodes_of(layer, proto, model) for name, layer in layers.items()}
    claims = Counter(place.node.output[0] for found in places.values() for place in found)
    return {
        name: found
        for name, found in places.items()
        if 0 < len(found) == calls[name] and all(claims[place.node.output[0]] == 1 for place in found)
    }


def _nodes_of(layer: Int8Layer, proto: Any, model: nn.Module) -> list[Place]:
    """Return the nodes whose weights are the layer's own, or those times a factor for each output channel."""
    from onnx import numpy_helper

    constants = {one.name: one for one in proto.graph.initializer}
    own, values = model.get_submodule(layer.name), layer.values.numpy()
    places: list[Place] = []
    for node in proto.graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul") or node.input[1] not in constants:
            continue
        is_transposed = node.op_type == "MatMul" or (node.op_type == "Gemm" and not _attribute(node, "transB"))
        shape = tuple(constants[node.input[1]].dims)
        if shape != (tuple(reversed(values.shape)) if is_transposed else values.shape):
            continue
        of_layer = _layer_of(node, model)
        if of_layer is not None and of_layer is not own:
            continue
        weights = numpy_helper.to_array(constants[node.input[1]])
        factors = factors_between(weights.T if is_transposed else weights, values)
        if factors is None or overflows(layer, factors):
            continue
        named = of_layer is own or node.input[1] == f"{layer.name}.weight".removeprefix(".")
        if named or is_transposed or bool((factors == 1).all()):
            places.append(Place(node, 1 if is_transposed else 0, factors))
    return places


def _layer_of(node: Any, model: nn.Module) -> nn.Module | None:
    """Return the layer that a node was written for; None where it is not known, as where a norm was folded into it."""
    (said, *_) = [*(one.value for one in node.metadata_props if one.key == _SCOPES), "[]"]
    scopes = ast.literal_eval(said)
    try:
        module = model.get_submodule(scopes[-2])
    except (IndexError, AttributeError):
        return None
    return module if isinstance(module, LAYERS) else None


def factors_between(weights: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Return by which factors, one for each row, `weights` are `values`; None where they are no multiples of them."""
    rows, own = (array.reshape(len(array), -1).astype(np.float64) for array in (weights, values))
    squares = (own * own).sum(1)
    factors = np.where(squares > 0, (rows * own).sum(1) / np.where(squares > 0, squares, 1), 1.0)
    if np.array_equal(rows, own):
        return np.ones(len(rows), np.float32)
    error = np.abs(rows - factors[:, None] * own).max(initial=0.0)
    return factors.astype(np.float32) if error <= _CLOSE * np.abs(rows).max(initial=0.0) else None


def overflows(layer: Int8Layer, factors: NDArray[np.float32]) -> bool:
    """Whether a factor below 0 meets the code -128, whose opposite is no 8-bit code."""
    lowest = layer.codes.reshape(len(layer.codes), -1).amin(1).numpy()
    return bool(((lowest == -128) & (factors < 0)).any())


def _attribute(node: Any, name: str) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == name), 0)
