"""Which nodes of a graph compute a layer: the exporter's scopes, names, and what a norm was folded to say it."""

import numpy as np
import pytest
import torch
from torch import nn

from effbench.measure.int8_layers import int8_layers
from effbench.measure.onnx_nodes import n_calls, places_of

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'effbench[onnx]'")


@pytest.fixture
def network(put_on_grids):
    torch.manual_seed(0)
    return put_on_grids(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 3), nn.Linear(3, 2)), torch.randn(4, 3))


def graph_of(*nodes):
    """Return a model of (operation, weights, their name, scope): each takes what the one before it gives."""
    made, constants = [], {}
    for number, (kind, weights, name, scope) in enumerate(nodes):
        node = onnx.helper.make_node(kind, [f"v{number}", name], [f"v{number + 1}"])
        if kind == "Gemm":
            node.attribute.append(onnx.helper.make_attribute("transB", 1))
        if scope is not None:
            node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=str(["", scope, "linear"]))
        made.append(node)
        constants[name] = onnx.numpy_helper.from_array(np.ascontiguousarray(weights), name)
    return onnx.helper.make_model(onnx.helper.make_graph(made, "graph", [], [], list(constants.values())))


def find(network, *nodes, **calls):
    layers = int8_layers(network)
    found = places_of(layers, graph_of(*nodes), network, calls={**dict.fromkeys(layers, 1), **calls})
    return {name: [place.node.output[0] for place in places] for name, places in found.items()}


def weights_of(network):
    return [layer.values.numpy() for layer in int8_layers(network).values()]


def test_calls_are_counted_and_the_network_is_left_as_it_was(network):
    shared = nn.Sequential(*network[:2], *network[:2], network[2])
    assert n_calls(shared, int8_layers(shared), torch.zeros(4, 3)) == {"0": 2, "1": 2, "4": 1}
    assert not any(module._forward_hooks for module in shared.modules())
    with pytest.raises(RuntimeError):
        n_calls(shared, int8_layers(shared), torch.zeros(4, 5))
    assert not any(module._forward_hooks for module in shared.modules())


def test_nodes_are_found_by_their_weights(network):
    first, second, third = weights_of(network)
    nodes = [("Gemm", first, "a", None), ("MatMul", second.T, "b", None), ("Gemm", third, "c", None)]
    assert find(network, *nodes) == {"0": ["v1"], "1": ["v2"], "2": ["v3"]}
    assert find(network, *nodes[:2]) == {"0": ["v1"], "1": ["v2"]}


def test_a_norm_is_a_factor_for_each_output_channel_where_the_weights_have_the_layers_name(network):
    first, *_ = weights_of(network)
    folded = (first * np.float32([[-0.3], [2.5]])).astype(np.float32)
    layers = int8_layers(network)
    (place,) = places_of(layers, graph_of(("Gemm", folded, "0.weight", "bn")), network, calls=dict.fromkeys(layers, 1))[
        "0"
    ]
    assert place.axis == 0 and place.factors == pytest.approx([-0.3, 2.5])
    assert find(network, ("Gemm", folded, "other", None)) == {}
    assert find(network, ("Gemm", folded + np.float32(0.01), "0.weight", None)) == {}


def test_of_equal_weights_the_scope_says_whose_they_are(network):
    network[2].load_state_dict(network[0].state_dict())
    first, _, third = weights_of(network)
    assert np.array_equal(first, third)
    told = [("Gemm", first, "2.weight", "0"), ("Gemm", first, "2.weight", "2")]
    assert find(network, *told) == {"0": ["v1"], "2": ["v2"]}
    untold = [(*node[:3], None) for node in told]
    assert find(network, *untold) == {}


def test_a_layer_has_as_many_nodes_as_calls(network):
    first, *_ = weights_of(network)
    nodes = [("Gemm", first, "0.weight", "0")] * 2
    assert find(network, *nodes) == {}
    assert find(network, *nodes, **{"0": 2}) == {"0": ["v1", "v2"]}
    assert find(network, *nodes, **{"0": 0}) == {}
    assert find(network, **{"0": 0}) == {}


@pytest.mark.parametrize("kind", ["Add", "Mul"])
def test_other_operations_are_none(network, kind):
    first, *_ = weights_of(network)
    assert find(network, (kind, first, "0.weight", "0")) == {}
