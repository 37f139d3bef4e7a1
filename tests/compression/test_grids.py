"""The grids beside the plain uniform ones: ternary, powers of two, and ranges that leave outliers out."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize

from effbench.codec import decode, encode
from effbench.compression.constraints.described import describe, impose
from effbench.compression.constraints.powers_of_two import MAX_LEVELS, from_powers, to_powers
from effbench.compression.constraints.quantizer import QuantizedTensor, UniformQuantizer
from effbench.compression.constraints.ranges import least_error, percentile_of
from effbench.compression.constraints.stack import bake
from effbench.stages.quantize import Quantize

SCHEMES = ("symmetric", "affine")


@st.composite
def weights(draw):
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


@given(weights(), st.integers(2, 8), st.sampled_from(SCHEMES))
def test_the_searched_range_never_has_the_larger_squared_error(weight, bits, scheme):
    searched, full = (squared_error(weight, bits, scheme=scheme, grid_range=kind) for kind in ("mse", "max"))
    assert (searched <= full * (1 + 1e-5)).all()  # the search sums in float32


@pytest.mark.parametrize(("bits", "scheme"), [*itertools.product((3, 4), SCHEMES)])
def test_a_range_without_the_outliers_has_less_error_at_few_bits(bits, scheme):
    weight = with_outliers()
    error = {kind: squared_error(weight, bits, scheme=scheme, grid_range=kind).sum() for kind in ("max", "mse")}
    assert error["mse"] < 0.7 * error["max"]  # seen: 0.22, 0.37, 0.41, 0.64
    ordinary = {
        range: (UniformQuantizer(bits, scheme=scheme, grid_range=kind, percentile=99)(weight) - weight)[:, 2:]
        for range in ("max", "percentile")
    }
    # Cutting the outliers off costs them, and serves all the others.
    assert ordinary["percentile"].square().mean() < 0.3 * ordinary["max"].square().mean()


def test_the_search_comes_close_to_an_exhaustive_one():
    weight = with_outliers()
    searched = squared_error(weight, 3, range="mse")
    high = weight.abs().amax(1)
    grid = UniformQuantizer(3)
    exhaustive = torch.stack([grid._error(weight, -f * high, f * high) for f in torch.linspace(0.01, 1, 400)]).amin(0)
    assert (searched <= 1.03 * exhaustive).all()


def test_the_least_error_is_found_per_row_and_the_full_range_kept_on_a_tie():
    wanted = torch.tensor([1.0, 0.5, 0.8])
    assert torch.allclose(least_error(lambda f: (f - wanted).square(), 3, wanted.device), wanted, atol=0.02)
    assert torch.equal(least_error(torch.zeros_like, 3, wanted.device), torch.ones(3))


@given(weights(), st.floats(50, 100))
def test_the_percentile_leaves_no_more_than_its_share_above(weight, percentile):
    sizes = weight.abs()
    limit = percentile_of(sizes, percentile)
    n_above, n_nonzero = (sizes > limit.unsqueeze(1)).sum(1), (sizes > 0).sum(1)
    assert (n_above <= (1 - percentile / 100) * n_nonzero + 1e-4).all()
    assert all(limit[row] in sizes[row] for row in range(len(sizes)))
    assert torch.equal(percentile_of(sizes, 100), sizes.amax(1))


@given(weights())
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
        (squared_error(by_channel, 2, scheme="ternary", granularity=kind) / by_channel.square().sum(1)).mean()
        for kind in ("channel", "tensor")
    ]
    assert relative[0] < 0.5 * relative[1]


@given(weights(), st.integers(2, 8))
def test_powers_are_the_nearest_of_all_levels(weight, bits):
    n_levels = 2 ** (bits - 1) - 1
    codes, largest = to_powers(weight, n_levels=n_levels)
    rounded = from_powers(codes, largest[:, None]).double()
    for row, got, top in zip(weight.double(), rounded, largest.double(), strict=True):
        assert torch.frexp(top)[0] == 0.5
        powers = top * 2.0 ** -torch.arange(n_levels, dtype=torch.float64)
        levels = torch.cat([-powers, torch.zeros(1, dtype=torch.float64), powers])
        assert torch.isin(got, levels).all()
        distance = (row[:, None] - levels).abs().amin(1)
        assert torch.allclose((row - got).abs(), distance, rtol=1e-12, atol=0)
        if row.any():  # the largest power is the nearest one to the largest weight
            assert 0.75 * top <= row.abs().max() < 1.5 * top


def test_any_integer_is_a_code_and_the_extremes_of_float_are_weights():
    codes = torch.tensor([-(2**31), 2**31 - 1, 0, 1, -2], dtype=torch.int32)
    values = from_powers(codes, torch.tensor(4.0))
    smallest = 4.0 * 2.0 ** (1 - MAX_LEVELS)
    assert values.tolist() == [-smallest, smallest, 0.0, 4.0, -2.0]
    extreme = torch.tensor([[3.4e38, -1e-38, 1e-45, 0.0]])
    assert UniformQuantizer(8, scheme="power_of_two")(extreme).isfinite().all()


SETTINGS = [
    {"bits": 2, "scheme": "ternary"},
    {"bits": 2, "scheme": "ternary", "granularity": "tensor"},
    {"bits": 4, "scheme": "power_of_two"},
    {"bits": 8, "scheme": "power_of_two", "granularity": "tensor"},
    {"bits": 3, "scheme": "affine", "range": "mse"},
    {"bits": 4, "range": "percentile", "percentile": 99.0},
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


@pytest.mark.parametrize(("settings", "bits"), [(SETTINGS[0], 2), (SETTINGS[2], 4)])
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 4, "scheme": "ternary"}, "bits=4: must be 2 with scheme=ternary"),
        ({"bits": 9, "scheme": "power_of_two"}, "bits=9: must be 2 to 8 with scheme=power_of_two"),
        ({"bits": 1, "scheme": "power_of_two"}, "bits=1: must be 2 to 8"),
        ({"bits": 4, "range": "minmax"}, "range=minmax: must be max or percentile or mse"),
        ({"bits": 2, "scheme": "ternary", "range": "mse"}, "range=mse: must be max with scheme=ternary"),
        ({"bits": 4, "percentile": 101.0}, "percentile=101.0: must be 50 to 100"),
    ],
)
def test_what_does_not_go_together_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        Quantize(**options)
