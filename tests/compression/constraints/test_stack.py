import copy
import json
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.described import describe, impose
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.quantizer import UniformQuantizer
from effbench.compression.constraints.stack import bake, constrained_input, constraints_on, quantizer_of
from effbench.compression.layers import weight_layers

SCHEMES = ("symmetric", "affine")
GRANULARITIES = ("tensor", "channel")


@st.composite
def weights(draw):
    """Tensors of 2 or 4 dimensions: any scale, skewed or not, with zeros, sometimes with a slice of nothing else."""
    n_out, n_in = draw(st.integers(1, 6)), draw(st.integers(1, 8))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    weight = torch.randn(n_out, n_in, generator=generator) * 10.0 ** draw(st.integers(-6, 4))
    weight += weight.abs().max() * draw(st.sampled_from([0.0, 0.3, -2.0]))
    weight[torch.rand(n_out, n_in, generator=generator) < draw(st.sampled_from([0.0, 0.5]))] = 0
    if draw(st.booleans()):
        weight[0] = 0
    return weight.view(n_out, n_in, 1, 1) if draw(st.booleans()) else weight


quantizers = st.builds(
    UniformQuantizer,
    st.integers(1, 16),
    scheme=st.sampled_from(SCHEMES),
    granularity=st.sampled_from(GRANULARITIES),
)
several_bits = quantizers.filter(lambda quantizer: quantizer.bits > 1)


def grid_steps(quantizer, weight):
    """The scale of every weight, in the weight's shape."""
    scale = quantizer.quantize(weight).scale
    return scale.reshape(-1, *[1] * (weight.ndim - 1)).expand_as(weight) if scale.ndim else scale.expand_as(weight)


@given(several_bits, weights())
def test_no_weight_moves_by_more_than_half_a_step(quantizer, weight):
    error = (quantizer(weight) - weight).abs()
    # Beside the rounding to the grid there is that of float32, at most a few units in the last place.
    assert (error <= 0.5 * grid_steps(quantizer, weight) + 1e-6 * weight.abs().max()).all()


@given(quantizers, weights())
def test_a_slice_has_at_most_two_to_the_bits_values(quantizer, weight):
    rounded = quantizer(weight)
    slices = rounded if quantizer.granularity == "channel" else [rounded]
    for values in slices:
        signs = values[values != 0] if quantizer.bits == 1 else values  # a masked weight is no third sign: see Mask
        assert len(signs.unique()) <= 2**quantizer.bits
    codes = quantizer.quantize(weight).codes
    if quantizer.bits > 1:
        assert int(codes.max()) - int(codes.min()) < 2**quantizer.bits


@given(quantizers, weights())
def test_zero_stays_exactly_zero(quantizer, weight):
    assert (quantizer(weight)[weight == 0] == 0).all()


@given(quantizers, weights())
def test_rounding_twice_is_rounding_once(quantizer, weight):
    once = quantizer(weight)
    twice = quantizer(once)
    # The grid is found anew from the rounded weights: its scale may differ in float32's last place.
    assert torch.allclose(once, twice, rtol=1e-5, atol=1e-12)
    if quantizer.bits > 1 and quantizer.scheme == "symmetric":
        assert torch.equal(quantizer.quantize(weight).codes, quantizer.quantize(once).codes)


@given(several_bits, weights())
def test_a_larger_weight_is_never_rounded_below_a_smaller_one(quantizer, weight):
    slices = (
        zip(weight, quantizer(weight), strict=True)
        if quantizer.granularity == "channel"
        else [(weight, quantizer(weight))]
    )
    for before, after in slices:
        order = before.flatten().argsort()
        assert (after.flatten()[order].diff() >= 0).all()


@given(quantizers, weights())
def test_the_gradient_passes_straight_through_and_training_sees_the_rounded_values(quantizer, weight):
    parameter = nn.Parameter(weight.clone())
    upstream = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    seen = quantizer(parameter)
    (seen * upstream).sum().backward()
    assert torch.equal(parameter.grad, upstream)
    assert torch.equal(seen.detach(), quantizer(weight))


@given(st.sampled_from(SCHEMES), weights())
def test_one_bit_is_a_scaled_sign(scheme, weight):
    for granularity, slices in (("tensor", [weight]), ("channel", weight)):
        rounded = UniformQuantizer(1, scheme=scheme, granularity=granularity)(weight)
        assert torch.equal(rounded.sign(), weight.sign())
        for before, after in zip(slices, [rounded] if granularity == "tensor" else rounded, strict=True):
            nonzero = before[before != 0]
            if len(nonzero):
                assert torch.allclose(after[before != 0].abs(), nonzero.abs().mean(), rtol=1e-5)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_grid_per_channel_is_finer_where_channels_are_uneven(scheme, bits):
    weight = torch.randn(8, 50, generator=torch.Generator().manual_seed(0)) * 10.0 ** -torch.arange(8)[:, None]
    errors = {
        granularity: (UniformQuantizer(bits, scheme=scheme, granularity=granularity)(weight) - weight).square().mean(1)
        for granularity in GRANULARITIES
    }
    # Two bits are so coarse that little is left to gain.
    assert (errors["channel"][1:] < (1 if bits == 2 else 0.1) * errors["tensor"][1:]).all()


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_one_more_bit_quarters_the_squared_error(granularity):
    weight = torch.randn(16, 200, generator=torch.Generator().manual_seed(0))
    errors = [
        (UniformQuantizer(bits, granularity=granularity)(weight) - weight).square().mean().item()
        for bits in range(4, 13)
    ]
    for coarse, fine in pairwise(errors):
        assert 3.2 < coarse / fine < 5.5


def test_affine_uses_its_levels_on_one_sided_weights():
    weight = torch.rand(4, 100, generator=torch.Generator().manual_seed(0))
    errors = {scheme: (UniformQuantizer(4, scheme=scheme)(weight) - weight).abs().max() for scheme in SCHEMES}
    assert errors["affine"] < 0.6 * errors["symmetric"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match="not finite"):
        UniformQuantizer(8)(torch.tensor([[1.0, value]]))


def some_mask(layer, seed=0):
    return torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(seed)) < 0.5


@pytest.fixture(params=["mask", "uniform", "both", "one bit after a mask"])
def constrained(request, toy_network):
    """A network whose weights carry constraints."""
    network = toy_network()
    for _, layer in weight_layers(network):
        if request.param != "uniform":
            parametrize.register_parametrization(layer, "weight", Mask(some_mask(layer)))
        if request.param != "mask":
            bits = 1 if request.param.startswith("one") else 3
            parametrize.register_parametrization(layer, "weight", UniformQuantizer(bits, scheme="affine"))
    return network.eval()


def images():
    return torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("scheme", SCHEMES)
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
