"""Borders between layers of integers and layers of floats: counted on the graph, whatever lies between layers."""

import copy

import pytest
import torch
from torch import nn

from effbench.compression.constraints.layer_inputs import InputGrid, set_input
from effbench.compression.constraints.quantizer import UniformQuantizer
from effbench.compression.constraints.stack import register
from effbench.measure.float_borders import Borders, borders_of
from effbench.measure.onnx_graph import to_onnx
from effbench.models import small_vit


class Chain(nn.Module):
    """Three convolutions with something between them, then a head."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1)
        self.norm, self.head = nn.BatchNorm2d(4), nn.Linear(2 * 16, 3)

    def forward(self, images):
        maps = torch.relu_(self.norm(self.one(images)))
        maps = nn.functional.max_pool2d(self.two(maps).clamp(0, 6), 2)
        return self.head(self.three(maps).flatten(1))


class Residual(nn.Module):
    """Two branches whose sum both of two convolutions take."""

    def __init__(self):
        super().__init__()
        self.stem, self.branch = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.left, self.right = nn.Conv2d(4, 2, 1), nn.Conv2d(4, 2, 1)

    def forward(self, images):
        maps = self.stem(images)
        maps = maps + self.branch(maps).sigmoid()
        return torch.cat([self.left(maps), self.right(maps)], 1)


IMAGES = torch.zeros(3, 1, 8, 8)


@pytest.mark.parametrize(
    ("layers", "n", "activations"),
    [
        (["one", "two", "three", "head"], 0, 0),
        ([], 0, 0),
        (["one", "three", "head"], 2, 4 * 64 + 4 * 64),  # into the one of floats, and out of it: before it is pooled
        (["two", "three", "head"], 1, 4 * 64),  # the first: in is what the engine is given
        (["one", "two", "three"], 1, 2 * 16),
        (["two"], 2, 4 * 64 + 4 * 64),
    ],
)
def test_each_change_between_layers_is_one_and_what_lies_between_them_is_none(layers, n, activations):
    network = Chain().train()
    state = copy.deepcopy(network.state_dict())
    assert borders_of(network, layers, IMAGES) == Borders(n=n, activations=activations)
    assert network.training and all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("layers", "n"),
    [
        (["stem", "left", "right"], 2),  # the stem's maps into the branch, and the sum, which comes from it, once
        (["stem", "branch"], 1),  # the sum, once for both
        (["stem", "branch", "left"], 1),
        (["branch"], 2),
    ],
)
def test_what_several_take_is_converted_once(layers, n):
    assert borders_of(Residual(), layers, IMAGES) == Borders(n=n, activations=n * 4 * 64)


class Blocks(nn.Module):
    """A stem, and blocks whose outputs are added to what goes on."""

    def __init__(self, normed, in_place):
        super().__init__()
        self.stem, self.head = nn.Linear(8, 8), nn.Linear(8, 4)
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(6))
        self.norm, self.in_place = nn.LayerNorm(8) if normed else nn.Identity(), in_place

    def forward(self, values):
        values = self.stem(values)
        for block in self.blocks:
            own = block(self.norm(values)).relu()
            values = values.add_(own) if self.in_place else values + own
        return self.head(values)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("normed", [False, True])
def test_what_is_added_to_is_converted_once_however_often_it_is_read(normed, in_place):
    network = Blocks(normed, in_place)
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    floats = {(): 0, ("stem",): 1, ("head",): 1, ("blocks.2",): 2, ("stem", "head"): 2, ("blocks.1", "blocks.4"): 4}
    for left, n in floats.items():
        found = borders_of(network, [name for name in linear if name not in left], torch.zeros(2, 8))
        assert found == Borders(n=n, activations=8 * n), left


def test_as_many_as_the_exported_graph_has_more_or_fewer_conversions_and_grids_make_no_difference():
    onnx = pytest.importorskip("onnxruntime") and pytest.importorskip("onnxscript")
    assert onnx is not None
    network = Residual()
    layers = {"left": network.left, "right": network.right}
    for layer in layers.values():
        register(layer, "weight", UniformQuantizer(bits=8))
        set_input(layer, InputGrid.between(-4.0, 4.0, bits=8))
    graph = to_onnx(network, IMAGES[:1])
    assert set(graph.int8) == set(layers)
    n_nodes = sum(node.op_type == "QuantizeLinear" for node in graph.proto.graph.node)
    assert borders_of(network, layers, IMAGES) == Borders(n=n_nodes, activations=n_nodes * 4 * 64)


def test_operations_that_are_no_layers_multiply_too():
    class Products(nn.Module):
        def __init__(self):
            super().__init__()
            self.own, self.weights = nn.Linear(8, 8), nn.Parameter(torch.ones(8))
            self.pair = nn.Bilinear(8, 8, 2)

        def forward(self, values):
            values = self.own(values)
            kept = torch.zeros(values.shape)
            kept[:, 2:] = values[:, 2:]
            return (kept @ self.weights).sum() + self.pair(kept, torch.ones_like(values)).sum()

    assert borders_of(Products(), ["own"], torch.zeros(2, 8)) == Borders(n=1, activations=8)


def test_sparse_activations_have_no_storage_and_are_followed():
    class Sparse(nn.Module):
        def __init__(self):
            super().__init__()
            self.own, self.head = nn.Linear(8, 8), nn.Linear(8, 2)

        def forward(self, values):
            return self.head(self.own(values).to_sparse().to_dense())

    assert borders_of(Sparse(), ["own"], torch.ones(2, 8)) == Borders(n=1, activations=8)


def test_a_layer_that_runs_twice_is_the_same_kind_both_times():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.own, self.head = nn.Linear(8, 8), nn.Linear(8, 2)

        def forward(self, values):
            return self.head(self.own(self.own(values)))

    assert borders_of(Twice(), ["own"], torch.zeros(2, 8)) == Borders(n=1, activations=8)
    assert borders_of(Twice(), ["head"], torch.zeros(2, 8)) == Borders(n=1, activations=8)


def test_attention_and_recurrent_layers_compute_in_floats():
    transformer = small_vit(patch=2, depth=1, heads=2, width=16, num_classes=4, input_side=8)
    linear = [name for name, module in transformer.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    found = borders_of(transformer, linear, IMAGES)
    # Queries, keys and values into attention, as one layer gives them, and what it gives into the projection.
    assert found == Borders(n=2, activations=16 * 3 * 16 + 16 * 16)

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.before, self.rnn, self.head = nn.Linear(8, 6), nn.LSTM(6, 5, batch_first=True), nn.Linear(5, 2)

        def forward(self, images):
            return self.head(self.rnn(self.before(images[:, 0]))[0][:, -1])

    for kind in (nn.LSTM, nn.GRU, nn.RNN):
        network = Recurrent()
        network.rnn = kind(6, 5, batch_first=True)
        assert borders_of(network, ["before", "head"], IMAGES).n == 2
