"""What modules hold beside parameters and buffers: kept, and put back where a training goes on."""

import copy
from collections import Counter

import pytest
import torch
from torch import nn

from effbench.run.packing import pack, unpack
from effbench.training.attributes import attributes_of, set_attributes


class Odd(nn.Module):
    """A user's module that keeps what it needs in plain attributes."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.tied = [self.weight]
        self.n_calls, self.history, self.limits, self.named = 0, [], (0.5, None), Counter(a=1)
        self.register_buffer("average", torch.zeros(2))
        self.level = torch.zeros(3)
        self.noise = torch.Generator().manual_seed(1)
        self.last = None

    def forward(self, x):
        self.n_calls += 1
        self.history.append(float(x.sum()))
        self.level += 1
        self.named["a"] += 1
        self.last = x * self.weight
        return self.last + torch.rand(2, generator=self.noise)


def used(n):
    model = nn.Sequential(Odd(), nn.ReLU())
    for _ in range(n):
        model(torch.ones(2))
    return model


@pytest.mark.parametrize("n", [0, 1, 5])
def test_they_come_back_through_a_file(n):
    model, other = used(3), used(n)
    kept = unpack(pack(attributes_of(model)))
    later = [model(torch.full((2,), 0.25)) for _ in range(2)]
    set_attributes(other, kept)
    again = [other(torch.full((2,), 0.25)) for _ in range(2)]
    assert all(map(torch.equal, later, again))
    (one, _), (same, _) = model, other
    assert (one.n_calls, one.history, one.limits, one.named) == (same.n_calls, same.history, same.limits, same.named)
    assert type(same.limits) is tuple
    assert torch.equal(one.level, same.level)
    assert one.last.shape == same.last.shape


def test_parameters_and_buffers_are_not_among_them_and_a_tensor_is_set_in_place():
    model = used(1)
    kept = attributes_of(model)
    assert {place.rpartition(".")[2] for place in kept} >= {"n_calls", "level", "noise", "last", "inplace"}
    assert not {"weight", "average", "tied"} & {place.rpartition(".")[2] for place in kept}
    held = model[0].level
    kept = copy.deepcopy({place: value for place, value in kept.items() if place != "0.last"})
    held.zero_()
    set_attributes(model, kept)
    assert model[0].level is held
    assert held.tolist() == [1, 1, 1]


def test_those_of_another_network_are_refused():
    with pytest.raises(ValueError, match="has a module 0, and this one has none"):
        set_attributes(nn.ReLU(), attributes_of(used(1)))
