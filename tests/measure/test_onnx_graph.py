"""Networks as ONNX graphs: layers on 8-bit grids are in the QDQ form, and compute what PyTorch simulates.

Graphs are evaluated node by node, as they stand, by ONNX's own reference.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from effbench.compression.constraints.layer_inputs import InputGrid, set_input
from effbench.compression.constraints.quantizer import HeldGrid, UniformQuantizer
from effbench.compression.constraints.stack import register
from effbench.measure.onnx_graph import INPUT, OUTPUT, cuts_products_off, to_onnx

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'effbench[onnx]'")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: pip install 'effbench[onnx]'")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def evaluate(proto, images):
    from onnx.reference import ReferenceEvaluator

    (outputs,) = ReferenceEvaluator(proto).run([OUTPUT], {INPUT: images.numpy()})
    return torch.from_numpy(outputs)


def kinds(graph):
    return [node.op_type for node in graph.proto.graph.node]


def constants(graph):
    return {one.name: onnx.numpy_helper.to_array(one) for one in graph.proto.graph.initializer}


def with_norm(layer, *, gammas):
    """Return a layer and a norm after it that has seen something, and whose weights are such."""
    kind = {nn.Conv1d: nn.BatchNorm1d, nn.Conv2d: nn.BatchNorm2d, nn.Linear: nn.BatchNorm1d}[type(layer)]
    norm = kind(len(layer.weight))
    with torch.no_grad():
        norm.weight.copy_(torch.tensor(gammas).repeat(len(layer.weight))[: len(layer.weight)])
        norm.bias.normal_()
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return nn.Sequential(layer, norm)


class Twice(nn.Module):
    """Calls one layer two times."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, values):
        return self.layer(self.layer(values).relu())


NETWORKS = {
    "linear": (lambda: nn.Linear(6, 4), (3, 6)),
    "linear without a bias": (lambda: nn.Sequential(nn.Linear(6, 4, bias=False)), (3, 6)),
    "linear on sequences": (lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)), (2, 3, 6)),
    "square, on sequences": (lambda: nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6)), (2, 3, 6)),
    "1-d": (lambda: nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv1d(4, 3, 3, stride=2)), (2, 2, 9)),
    "groups": (lambda: nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.ReLU(), nn.Conv2d(6, 4, 1)), (2, 4, 6, 6)),
    "depthwise": (
        lambda: nn.Sequential(nn.Conv2d(4, 4, 3, groups=4, padding=1), nn.ReLU6(), nn.Conv2d(4, 5, 1)), (2, 4, 6, 6),
    ),
    "3-d": (lambda: nn.Conv3d(2, 3, 2), (1, 2, 4, 4, 4)),
    "padded around": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 2, 6, 6)),
    "called twice": (Twice, (3, 6)),
    "norms with weights below zero": (
        lambda: nn.Sequential(
            with_norm(nn.Conv2d(2, 6, 3), gammas=[1.5, -0.7, 0.2]), nn.ReLU(), nn.Flatten(),
            with_norm(nn.Linear(6 * 16, 4), gammas=[-1.0, 0.5]),
        ),
        (2, 2, 6, 6),
    ),
    "a norm with weights of zero": (lambda: with_norm(nn.Conv2d(2, 6, 3), gammas=[1.5, 0.0, -0.7]), (2, 2, 6, 6)),
}  # fmt: skip


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("name", NETWORKS)
def test_layers_on_grids_are_in_the_qdq_form_and_give_what_pytorch_simulates(name, put_on_grids, assert_a_step_away):
    make, size = NETWORKS[name]
    images = torch.randn(size)
    network = put_on_grids(make(), images)
    graph = to_onnx(network, images)
    names = [name for name, module in network.named_modules() if hasattr(module, "parametrizations")]
    assert list(graph.int8) == names and graph.notes == ()
    codes = [array for array in constants(graph).values() if array.dtype == np.int8 and array.ndim > 1]
    assert len(codes) == len(names)
    assert graph.int8_weights == sum(array.size for array in codes)
    assert_a_step_away(evaluate(graph.proto, images), network, images)
    onnx.checker.check_model(graph.proto, full_check=True)


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(
    ("options", "n_clips"),
    [
        ({"input_bits": 5}, 2),
        ({"input_bits": 4, "bits": 6}, 2),
        ({"bits": 4}, 0),
        ({"bits": 2, "scheme": "ternary"}, 0),
        ({"bits": 7, "scheme": "affine"}, 0),
        ({"granularity": "tensor"}, 0),
    ],
    ids=str,
)
def test_grids_of_other_kinds(options, n_clips, put_on_grids, assert_a_step_away):
    images = torch.rand(2, 2, 6, 6)
    make = lambda: nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4))  # noqa: E731
    network = put_on_grids(make(), images, **options)
    graph = to_onnx(network, images)
    assert list(graph.int8) == ["0", "3"]
    assert kinds(graph).count("Clip") == n_clips
    wild = torch.cat([images[:1] * 9, -images[1:]])  # beyond the grids' ends
    for values in (images, wild):
        assert_a_step_away(evaluate(graph.proto, values), network, values)


@pytest.mark.extended
def test_unsigned_codes_are_128_higher_and_give_the_same(put_on_grids):
    images = torch.randn(2, 2, 6, 6)
    network = put_on_grids(with_norm(nn.Conv2d(2, 6, 3), gammas=[1.5, 0.0, -0.7]), images)
    signed, unsigned = to_onnx(network, images), to_onnx(network, images, weights="uint8")
    (codes,) = (one for one in constants(signed).values() if one.dtype == np.int8 and one.ndim == 4)
    (higher,) = (one for one in constants(unsigned).values() if one.dtype == np.uint8 and one.ndim == 4)
    assert np.array_equal(codes.astype(int) + 128, higher)
    assert torch.equal(evaluate(signed.proto, images), evaluate(unsigned.proto, images))


@pytest.mark.extended
def test_layers_whose_weights_alone_are_on_a_grid_are_floats():
    network = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4)).eval()
    register(network[0], "weight", UniformQuantizer(8))
    set_input(network[1], InputGrid(bits=8, scale=0.02, zero_point=128))
    graph = to_onnx(network, torch.randn(3, 6))
    assert graph.int8_weights == 0 and not graph.int8 and graph.notes == ()
    assert not {"QuantizeLinear", "DequantizeLinear"} & set(kinds(graph))
    images = torch.randn(3, 6)
    torch.testing.assert_close(evaluate(graph.proto, images), network(images).detach(), rtol=1e-5, atol=0.02)


def equal_layers(n, *, tied=False):
    layers = [nn.Linear(6, 6) for _ in range(n)]
    for layer in layers[1:]:
        if tied:
            layer.weight = layers[0].weight
        layer.load_state_dict(layers[0].state_dict())
    return nn.Sequential(*layers)


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("size", [(3, 6), (2, 3, 6)])
@pytest.mark.parametrize("tied", [False, True])
def test_layers_of_equal_weights_have_each_its_own_grid(size, tied, put_on_grids, assert_a_step_away):
    images = torch.randn(size)
    network = put_on_grids(equal_layers(3, tied=tied), images)
    graph = to_onnx(network, images)
    assert len({layer.input_grid.scale for layer in graph.int8.values()}) == 3
    assert kinds(graph).count("QuantizeLinear") == 3
    assert_a_step_away(evaluate(graph.proto, images), network, images)


class Hidden(nn.Module):
    """Computes with its layers' weights and without calling one of them: what is on that one's input does nothing."""

    def __init__(self):
        super().__init__()
        self.called, self.read = nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, values):
        return nn.functional.linear(self.called(values), self.read.weight, self.read.bias)


@pytest.mark.extended
def test_a_layer_that_is_not_called_has_no_grid_in_the_graph_and_is_named(put_on_grids):
    images = torch.randn(3, 6)
    network = put_on_grids(Hidden(), images, names=["called"])
    register(network.read, "weight", UniformQuantizer(8))
    set_input(network.read, InputGrid(bits=8, scale=5.0, zero_point=0))
    graph = to_onnx(network, images)
    assert list(graph.int8) == ["called"]
    assert graph.notes == ("computed in floats, as no node of the graph is theirs alone: read",)
    torch.testing.assert_close(evaluate(graph.proto, images), network(images).detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.extended
def test_a_code_whose_opposite_is_none_stays_float_behind_a_norm_below_zero():
    layer = nn.Conv2d(1, 2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([-128.0, 127.0]).reshape(2, 1, 1, 1))
    held = HeldGrid(torch.ones(2), torch.full((2,), 128, dtype=torch.int32), bits=8, scheme="affine")
    network = with_norm(layer, gammas=[-1.0, 1.0]).eval()
    register(layer, "weight", held)
    set_input(layer, InputGrid(bits=8, scale=0.02, zero_point=128))
    images = torch.randn(2, 1, 4, 4)
    graph = to_onnx(network, images)
    assert not graph.int8 and graph.notes == ("computed in floats, as no node of the graph is theirs alone: 0",)
    torch.testing.assert_close(evaluate(graph.proto, images), network(images).detach(), rtol=1e-4, atol=1e-3)


@pytest.mark.extended
def test_a_bias_too_large_for_its_steps_stays_float(put_on_grids):
    images = torch.randn(3, 6) * 1e-6
    network = nn.Linear(6, 4)
    with torch.no_grad():
        network.weight *= 1e-3
        network.bias.copy_(torch.tensor([1e6, -1e6, 0.0, 1.0]))
    network = put_on_grids(network, images)
    graph = to_onnx(network, images)
    assert graph.int8_weights == 24 and not [one for one in constants(graph).values() if one.dtype == np.int32]
    torch.testing.assert_close(evaluate(graph.proto, images), network(images).detach(), rtol=1e-6, atol=0)


@pytest.mark.extended
def test_the_file_says_nothing_of_the_sources(put_on_grids):
    images = torch.randn(3, 6)
    for network in (Twice(), put_on_grids(Twice(), images)):
        proto = to_onnx(network, images).proto
        content = proto.SerializeToString()
        for word in (b".py", b"pkg.torch", b"Twice", str(Path(__file__).parent).encode(), b"site-packages"):
            assert word not in content, word
        parts = (*proto.graph.node, *proto.graph.initializer, *proto.graph.input, *proto.graph.output)
        assert not any(part.doc_string or part.metadata_props for part in (proto, proto.graph, *parts))


@pytest.mark.extended
def test_codes_take_a_quarter_of_floats_also_where_a_layer_is_called_twice(put_on_grids):
    class Wide(Twice):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(100, 100)

    images = torch.randn(3, 100)
    n_floats = len(to_onnx(Wide(), images).proto.SerializeToString())
    n_codes = len(to_onnx(put_on_grids(Wide(), images), images).proto.SerializeToString())
    assert 40_000 < n_floats < 44_000
    assert 10_000 < n_codes < 15_000


@pytest.mark.extended
def test_the_network_is_left_alone(put_on_grids):
    images = torch.randn(3, 6)
    network = put_on_grids(Twice(), images).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    hooks = list(network.layer._forward_pre_hooks.values())
    to_onnx(network, images)
    assert network.training and list(network.layer._forward_pre_hooks.values()) == hooks
    assert not network.layer._forward_hooks
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


class Branching(nn.Module):
    def forward(self, values):
        return values if values.sum() > 0 else -values


@pytest.mark.extended
def test_what_can_not_be_exported_is_an_error_in_a_line():
    with pytest.raises(ValueError, match=r"^it can't be written as ONNX: [^\n]+$"):
        to_onnx(Branching(), torch.ones(2, 3))


@st.composite
def stacks(draw):
    """Return a stack of convolutions and linear layers, with norms or without, and the size of its input."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    layers, width = [], draw(st.sampled_from([1, 2, 4]))
    size = (2, width, 6, 6)
    for _ in range(draw(st.integers(1, 2))):
        groups = draw(st.sampled_from([1, width]))
        n_out = width * draw(st.sampled_from([1, 2]))
        layer = nn.Conv2d(
            width, n_out, draw(st.sampled_from([1, 3])), padding=1, groups=groups, bias=draw(st.booleans())
        )
        gammas = draw(st.sampled_from([None, [1.0, -0.5], [-2.0, 0.3, 0.0, 1.0]]))
        layers += [layer if gammas is None else with_norm(layer, gammas=gammas), nn.ReLU()]
        width = n_out
    layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, 3)]
    return nn.Sequential(*layers), size


@pytest.mark.extended
@settings(max_examples=6)
@given(
    stack=stacks(),
    bits=st.sampled_from([3, 6, 8]),
    input_bits=st.sampled_from([4, 8]),
    granularity=st.sampled_from(["channel", "tensor"]),
    weights=st.sampled_from(["int8", "uint8"]),
)
def test_any_stack_gives_what_pytorch_simulates(stack, bits, input_bits, granularity, weights, put_on_grids):
    network, size = stack
    images = torch.randn(size)
    network = put_on_grids(network, images, bits=bits, input_bits=input_bits, granularity=granularity)
    graph = to_onnx(network, images, weights=weights)
    assert len(graph.int8) == sum(hasattr(module, "parametrizations") for module in network.modules())
    with torch.no_grad():
        expected = network(images)
    (*_, last) = graph.int8.values()
    step = last.input_grid.scale * float(last.values.abs().max())
    torch.testing.assert_close(evaluate(graph.proto, images), expected, rtol=1e-4, atol=3 * step)


def test_it_is_said_whether_an_engine_cuts_products_off():
    def exact(blob, images):
        return evaluate(onnx.load_model_from_string(blob), torch.from_numpy(images)).numpy()

    def saturating(blob, images):
        n_pairs = 16 * 9 // 2  # of two products each, which are cut off at 16 bits
        return np.full_like(exact(blob, images), n_pairs * 32767)

    assert not cuts_products_off(exact)
    assert cuts_products_off(saturating)
