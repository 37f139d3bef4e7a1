"""Recurrent layers, which keep a list of their weights, with constraints on these."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.recurrent import read_constrained, read_plain
from effbench.compression.constraints.stack import bake, register

LAYERS = {
    "lstm": lambda: nn.LSTM(5, 4, num_layers=2, batch_first=True),
    "gru": lambda: nn.GRU(5, 4, bidirectional=True),
    "rnn": lambda: nn.RNN(5, 4, bias=False),
}
X = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=sorted(LAYERS))
def layer(request):
    torch.manual_seed(0)
    return LAYERS[request.param]()


def half(shape):
    return torch.arange(shape.numel()).reshape(shape) % 2 == 0


def test_what_is_masked_is_zero_in_the_forward_pass_and_stays_so_in_training(layer):
    by_hand = copy.deepcopy(layer)
    with torch.no_grad():
        by_hand.weight_hh_l0 *= half(by_hand.weight_hh_l0.shape)
    register(layer, "weight_hh_l0", Mask(half(layer.weight_hh_l0.shape)))
    assert torch.equal(layer(X)[0], by_hand(X)[0])
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    layer(X)[0].square().sum().backward()
    optimizer.step()
    assert (layer.weight_hh_l0[~half(layer.weight_hh_l0.shape)] == 0).all()
    assert not torch.equal(layer(X)[0], by_hand(X)[0])


def test_after_a_forward_pass_it_can_be_copied(layer):
    register(layer, "weight_ih_l0", Mask(half(layer.weight_ih_l0.shape)))
    out = layer(X)[0]
    assert torch.equal(copy.deepcopy(layer)(X)[0], out)


def test_a_layer_without_constraints_any_more_has_its_list_again(layer):
    register(layer, "weight_ih_l0", Mask(half(layer.weight_ih_l0.shape)))
    out = layer(X)[0]
    plain = bake(layer)
    assert torch.equal(plain(X)[0], out)
    assert "_flat_weights" in vars(plain) and plain._flat_weights[0] is plain.weight_ih_l0
    assert type(plain) is type(layer).__bases__[0]


def test_other_modules_are_left_alone():
    linear = nn.Linear(2, 2)
    parametrize.register_parametrization(linear, "weight", Mask(torch.ones(2, 2, dtype=torch.bool)))
    before = dict(vars(type(linear)))
    read_constrained(linear)
    read_plain(linear)
    assert dict(vars(type(linear))) == before
