import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.quantizer import UniformQuantizer
from effbench.compression.constraints.stack import bake, constrained_input, quantizer_of
from effbench.compression.layers import weight_layers


def some_mask(layer, seed=0):
    return torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(seed)) < 0.5


def images():
    return torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
def test_a_quantiser_on_a_mask_keeps_the_zeros(toy_network, bits, scheme):
    layer = toy_network()[5]
    mask = some_mask(layer)
    parametrize.register_parametrization(layer, "weight", Mask(mask))
    parametrize.register_parametrization(layer, "weight", UniformQuantizer(bits, scheme=scheme))
    assert (layer.weight[~mask] == 0).all()
    assert (layer.weight[mask] != 0).any()


def test_a_mask_gives_no_gradient_to_what_it_holds_and_no_negative_zero():
    layer = nn.Linear(4, 3)
    mask = some_mask(layer)
    parametrize.register_parametrization(layer, "weight", Mask(mask))
    layer.weight.sum().backward()
    assert torch.equal(layer.parametrizations["weight"].original.grad, mask.float())
    with torch.no_grad():
        assert not torch.signbit(layer.weight[~mask]).any()


def test_baking_keeps_the_outputs_and_leaves_plain_parameters(constrained):
    state = copy.deepcopy(constrained.state_dict())
    with torch.no_grad():
        expected = constrained(images())
    baked = bake(constrained)
    with torch.no_grad():
        assert torch.equal(baked(images()), expected)
    assert not any(parametrize.is_parametrized(module) for module in baked.modules())
    assert [type(module) for module in baked] == [type(module) for module in bake(baked)]
    assert type(baked[0]) is nn.Conv2d
    assert all(isinstance(layer.weight, nn.Parameter) for _, layer in weight_layers(baked))
    # The input is what it was: its state, its constraints, its outputs; baking again gives the same.
    assert constrained.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in constrained.state_dict().items())
    with torch.no_grad():
        assert torch.equal(constrained(images()), expected)
        assert torch.equal(bake(constrained)(images()), expected)
        assert torch.equal(copy.deepcopy(constrained)(images()), expected)


def test_a_baked_network_shares_no_memory_with_its_source(constrained):
    with torch.no_grad():
        expected = constrained(images())
        for parameter in bake(constrained).parameters():
            parameter.zero_()
        assert torch.equal(constrained(images()), expected)


def test_the_quantiser_with_the_last_word_and_what_it_receives(toy_network):
    plain, masked, quantized, both = (toy_network()[5] for _ in range(4))
    mask = some_mask(plain)
    for layer in (masked, both):
        parametrize.register_parametrization(layer, "weight", Mask(mask))
    for layer in (quantized, both):
        parametrize.register_parametrization(layer, "weight", UniformQuantizer(3))
    assert quantizer_of(plain, "weight") is None
    assert quantizer_of(masked, "weight") is None
    assert quantizer_of(quantized, "weight").bits == 3
    assert torch.equal(constrained_input(quantized, "weight"), plain.weight)
    assert torch.equal(constrained_input(both, "weight"), masked.weight)
    tensor = quantizer_of(both, "weight").quantize(constrained_input(both, "weight"))
    assert torch.equal(tensor.dequantize(), both.weight)
