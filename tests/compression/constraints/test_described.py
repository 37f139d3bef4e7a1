import json

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from effbench.codec import decode, encode
from effbench.compression.constraints.described import describe, impose
from effbench.compression.constraints.quantizer import HeldGrid, UniformQuantizer
from effbench.compression.constraints.stack import bake, constraints_on
from effbench.compression.layers import weight_layers


def images():
    return torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_constraints_come_back_from_their_description_and_the_state(constrained, toy_network):
    description = json.loads(json.dumps(describe(constrained)))
    fresh = toy_network(seed=1).eval()
    impose(fresh, description)
    fresh.load_state_dict(constrained.state_dict(), strict=True)
    assert describe(fresh) == description
    for (_, one), (_, other) in zip(weight_layers(constrained), weight_layers(fresh), strict=True):
        assert torch.equal(one.weight, other.weight)
        assert len(constraints_on(one, "weight")) == len(constraints_on(other, "weight")) > 0
    with torch.no_grad():
        assert torch.equal(constrained(images()), fresh(images()))


def test_a_network_without_constraints_has_no_description(toy_network):
    assert describe(toy_network()) == []


def test_an_unknown_kind_is_refused(toy_network):
    with pytest.raises(ValueError, match="unknown kind of constraint: 'lattice'"):
        impose(toy_network(), [{"module": "0", "tensor": "weight", "kind": "lattice"}])


SETTINGS = [
    {"bits": 2, "scheme": "ternary"},
    {"bits": 2, "scheme": "ternary", "granularity": "tensor"},
    {"bits": 4, "scheme": "power_of_two"},
    {"bits": 8, "scheme": "power_of_two", "granularity": "tensor"},
    {"bits": 3, "scheme": "affine", "grid_range": "mse"},
    {"bits": 4, "grid_range": "percentile", "percentile": 99.0},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_it_comes_back_from_the_file_and_from_its_description(settings):
    torch.manual_seed(0)
    network, fresh, other = (nn.Sequential(nn.Linear(40, 30), nn.Linear(30, 5)) for _ in range(3))
    for layer in network:
        parametrize.register_parametrization(layer, "weight", UniformQuantizer(**settings))
    impose(fresh, describe(network))
    fresh.load_state_dict(network.state_dict())
    restored = decode(encode(network), other)
    state, kept, read = (model.state_dict() for model in (bake(network), bake(fresh), restored))
    assert state.keys() == kept.keys() == read.keys()
    assert all(torch.equal(state[name], kept[name]) and torch.equal(state[name], read[name]) for name in state)


@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_a_grid_that_is_held_comes_back_with_its_scale_and_keeps_it(scheme, granularity):
    torch.manual_seed(0)
    network, fresh, other = (nn.Linear(40, 30) for _ in range(3))
    grid = UniformQuantizer(4, scheme=scheme, granularity=granularity).quantize(network.weight)
    held = HeldGrid(grid.scale, grid.zero_point, bits=4, scheme=scheme)
    parametrize.register_parametrization(network, "weight", held)
    assert torch.equal(network.weight, grid.dequantize())
    network.parametrizations.weight.original.data *= 0.6
    halved = network.weight.detach().clone()
    assert torch.equal(held.quantize(halved).scale, grid.scale)
    impose(fresh, json.loads(json.dumps(describe(network))))
    fresh.load_state_dict(network.state_dict())
    assert describe(fresh) == describe(network)
    assert torch.equal(fresh.weight, halved)
    assert torch.equal(decode(encode(network), other).weight, halved)
