"""Borders between layers of integers and layers of floats: counted on the graph, whatever lies between layers."""

import copy

import pytest
import torch
from torch import nn

from effbench.measure.float_borders import Borders, borders_of
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
        (["one", "three", "head"], 2, 4 * 64 + 4 * 16),  # into the one of floats, and out of it
        (["two", "three", "head"], 1, 4 * 64),  # the first: in is what the engine is given
        (["one", "two", "three"], 1, 2 * 16),
        (["two"], 2, 4 * 64 + 4 * 16),
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
    # Queries, keys and values into attention, each by itself, and what it gives into the projection.
    assert found.n >= 2 and found.activations >= 2 * 16 * 16

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.before, self.rnn, self.head = nn.Linear(8, 6), nn.LSTM(6, 5, batch_first=True), nn.Linear(5, 2)

        def forward(self, images):
            return self.head(self.rnn(self.before(images[:, 0]))[0][:, -1])

    # All steps go in, the last one comes out.
    found = borders_of(Recurrent(), ["before", "head"], IMAGES)
    assert found == Borders(n=2, activations=8 * 6 + 5)
