import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from effbench.compression.structure.factorized import Factored, build_factored, can_factor, factor_shapes, n_ranks

CONVOLUTIONS = st.fixed_dictionaries(
    {
        "kernel_size": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "stride": st.tuples(st.integers(1, 2), st.integers(1, 2)),
        "padding": st.one_of(st.tuples(st.integers(0, 1), st.integers(0, 1)), st.just("valid")),
        "dilation": st.tuples(st.integers(1, 2), st.integers(1, 2)),
        "bias": st.booleans(),
    }
)


@given(
    options=CONVOLUTIONS,
    n_in=st.integers(1, 4),
    n_out=st.integers(1, 4),
    scheme=st.sampled_from(["svd", "spatial", "tucker"]),
)
def test_a_chain_gives_maps_of_the_size_that_the_layer_gave(options, n_in, n_out, scheme):
    layer = nn.Conv2d(n_in, n_out, **options)
    if not can_factor(layer, scheme):
        return
    widths = (n_in, *[2] * n_ranks(scheme), n_out)
    chain = build_factored(layer, scheme, widths)
    assert isinstance(chain, Factored)
    assert chain.widths == widths
    assert tuple(tuple(one.weight.shape) for one in chain) == factor_shapes(layer, scheme, widths)
    images = torch.zeros(1, n_in, 8, 9)
    assert chain(images).shape == layer(images).shape


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_chain_is_of_the_layers_kind_and_draws_no_random_number(dtype):
    layer = nn.Linear(6, 4).to(dtype).eval()
    layer.weight.requires_grad_(False)
    state = torch.get_rng_state()
    chain = build_factored(layer, "svd", (6, 2, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert [tuple(factor.weight.shape) for factor in chain] == [(2, 6), (4, 2)]
    assert chain[0].bias is None
    assert all(not parameter.any() and parameter.dtype == dtype for parameter in chain.parameters())
    assert not any(parameter.requires_grad for parameter in chain.parameters())
    assert not chain.training


def test_a_convolution_on_lines_has_two_of_the_three():
    layer = nn.Conv1d(4, 6, 3, stride=2, padding=1)
    assert [can_factor(layer, name) for name in ("svd", "spatial", "tucker")] == [False, False, True]
    assert can_factor(nn.Conv1d(4, 6, 1), "svd")
    chain = build_factored(layer, "tucker", (4, 2, 3, 6))
    assert chain.widths == (4, 2, 3, 6)
    assert chain(torch.zeros(1, 4, 11)).shape == layer(torch.zeros(1, 4, 11)).shape


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 4, 3, groups=4), nn.ConvTranspose2d(4, 4, 3), nn.ReLU()]
)
def test_groups_and_other_layers_have_no_factors(layer):
    assert not any(can_factor(layer, name) for name in ("svd", "spatial", "tucker"))
