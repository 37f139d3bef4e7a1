import itertools
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize

from effbench.codec import encode
from effbench.compression.constraints.quantizer import QuantizedTensor, UniformQuantizer

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


@st.composite
def matrices(draw):
    """(n_out, n_in), of any scale, skewed or not, with zeros, sometimes with an outlier or a row of zeros."""
    n_out, n_in = draw(st.integers(1, 5)), draw(st.integers(1, 40))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    weight = torch.randn(n_out, n_in, generator=generator) * 10.0 ** draw(st.integers(-6, 4))
    weight += weight.abs().max() * draw(st.sampled_from([0.0, 0.3, -2.0]))
    weight[torch.rand(n_out, n_in, generator=generator) < draw(st.sampled_from([0.0, 0.5]))] = 0
    weight[:, 0] *= draw(st.sampled_from([1.0, 30.0]))
    if draw(st.booleans()):
        weight[-1] = 0
    return weight


def squared_error(weight, bits, **options):
    return (UniformQuantizer(bits, **options)(weight) - weight).double().square().sum(1)


def with_outliers():
    weight = torch.randn(8, 1000, generator=torch.Generator().manual_seed(0))
    weight[:, :2] *= 6
    return weight


@given(matrices(), st.integers(2, 8), st.sampled_from(SCHEMES))
def test_the_searched_range_never_has_the_larger_squared_error(weight, bits, scheme):
    searched, full = (squared_error(weight, bits, scheme=scheme, grid_range=kind) for kind in ("mse", "max"))
    assert (searched <= full * (1 + 1e-5)).all()  # the search sums in float32


@pytest.mark.parametrize(("bits", "scheme"), [*itertools.product((3, 4), SCHEMES)])
def test_a_range_without_the_outliers_has_less_error_at_few_bits(bits, scheme):
    weight = with_outliers()
    error = {kind: squared_error(weight, bits, scheme=scheme, grid_range=kind).sum() for kind in ("max", "mse")}
    assert error["mse"] < 0.7 * error["max"]  # seen: 0.22, 0.37, 0.41, 0.64
    ordinary = {
        kind: (UniformQuantizer(bits, scheme=scheme, grid_range=kind, percentile=99)(weight) - weight)[:, 2:]
        for kind in ("max", "percentile")
    }
    # Cutting the outliers off costs them, and serves all the others.
    assert ordinary["percentile"].square().mean() < 0.3 * ordinary["max"].square().mean()


def test_the_search_comes_close_to_an_exhaustive_one():
    weight = with_outliers()
    searched = squared_error(weight, 3, grid_range="mse")
    high = weight.abs().amax(1)
    grid = UniformQuantizer(3)
    exhaustive = torch.stack([grid._error(weight, -f * high, f * high) for f in torch.linspace(0.01, 1, 400)]).amin(0)
    assert (searched <= 1.03 * exhaustive).all()


@given(matrices())
def test_ternary_has_the_papers_threshold_and_scale(weight):
    grid = UniformQuantizer(2, scheme="ternary").quantize(weight)
    for row, codes, scale in zip(weight, grid.codes, grid.scale, strict=True):
        nonzero = row[row != 0].abs()
        if len(nonzero) == 0:
            assert not codes.any()
            continue
        large = row.abs() > 0.75 * nonzero.mean()
        assert torch.equal(codes, (torch.sign(row) * large).int())
        assert scale == pytest.approx(float(row[large].abs().mean()), rel=1e-5)


def test_ternary_beats_the_two_bit_grid_that_reaches_to_the_largest_weight():
    weight = torch.randn(8, 500, generator=torch.Generator().manual_seed(1))
    ternary, uniform = squared_error(weight, 2, scheme="ternary"), squared_error(weight, 2)
    assert (ternary < 0.5 * uniform).all()
    by_channel = (weight * torch.logspace(-2, 2, 8)[:, None]).contiguous()
    relative = [
        (squared_error(by_channel, 2, scheme="ternary", granularity=granularity) / by_channel.square().sum(1)).mean()
        for granularity in ("channel", "tensor")
    ]
    assert relative[0] < 0.5 * relative[1]


@pytest.mark.parametrize(
    ("settings", "bits"), [({"bits": 2, "scheme": "ternary"}, 2), ({"bits": 4, "scheme": "power_of_two"}, 4)]
)
def test_codes_take_no_more_than_their_bits(settings, bits):
    layer = nn.Linear(512, 256, bias=False)
    parametrize.register_parametrization(layer, "weight", UniformQuantizer(**settings))
    grids = 4 * 256 + 100
    assert len(encode(layer, coder="none")) <= bits * layer.weight.numel() / 8 + grids
    # Three levels of about (1/4, 1/2, 1/4), or what is left of 15 powers, take less than that with an entropy coder.
    assert len(encode(layer)) < len(encode(layer, coder="none"))


def test_a_power_is_stored_by_its_exponent_and_not_as_a_float():
    tensor = QuantizedTensor(
        codes=torch.tensor([3, -1, 0]), scale=torch.tensor(0.5), zero_point=torch.tensor(0), bits=3, is_power=True
    )
    assert tensor.dequantize().tolist() == [0.125, -0.5, 0.0]
