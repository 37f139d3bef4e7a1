"""The options that quantising stages share, and what they do to a layer."""

import pytest
import torch
from torch import nn

from effbench.compression.constraints.codebook import Codebook
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.quantizer import HeldGrid
from effbench.compression.constraints.stack import constraints_on, hold, quantizer_of
from effbench.compression.feedback import takes_feedback
from effbench.compression.grids import GridOptions
from effbench.compression.layers import weight_of, weights_of


def layer():
    return nn.Linear(40, 30)


def only_weight(module):
    (weight,) = weights_of(module)
    return weight


def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(
    ("scheme", "bits", "message"),
    [
        ("ternary", 4, "bits=4: must be 2 with scheme=ternary"),
        ("power_of_two", 9, "bits=9: must be 2 to 8 with scheme=power_of_two"),
        ("power_of_two", 1, "bits=1: must be 2 to 8"),
        ("symmetric", 17, "bits=17: must be 1 to 16"),
        ("kmeans", 0, "bits=0: must be 1 to 16"),
    ],
)
def test_a_width_that_a_scheme_does_not_have_is_named(scheme, bits, message):
    with pytest.raises(ValueError, match=message):
        GridOptions(scheme=scheme).check_bits(bits, shown=f"bits={bits}")


def test_a_scheme_that_finds_its_own_levels_has_no_range():
    GridOptions(scheme="affine", range="mse").check_grid()
    with pytest.raises(ValueError, match="range=mse: must be max with scheme=ternary, which finds its own levels"):
        GridOptions(scheme="ternary", range="mse").check_grid()


def test_the_options_are_those_of_the_quantiser():
    quantized = layer()
    options = GridOptions(scheme="affine", granularity="tensor", range="percentile", percentile=99.0)
    options.put_on_grid(only_weight(quantized), 3, generator=generator())
    quantizer = quantizer_of(quantized, "weight")
    assert quantizer.settings() == {
        "kind": "uniform",
        "bits": 3,
        "scheme": "affine",
        "granularity": "tensor",
        "grid_range": "percentile",
        "percentile": 99.0,
    }
    assert len(weight_of(quantized).unique()) <= 8


def test_a_layer_on_this_very_grid_stays_as_it_is_and_on_another_gets_it():
    quantized = layer()
    for bits, n_constraints in ((4, 1), (4, 1), (3, 2)):
        GridOptions().put_on_grid(only_weight(quantized), bits, generator=generator())
        assert len(constraints_on(quantized, "weight")) == n_constraints


def test_kmeans_ties_weights_to_two_to_the_bits_values_beside_zero():
    shared = layer()
    with torch.no_grad():
        shared.weight[:10] = 0
    GridOptions(scheme="kmeans").put_on_grid(only_weight(shared), 3, generator=generator())
    (codebook,) = constraints_on(shared, "weight")
    assert isinstance(codebook, Codebook)
    assert codebook.n_values == 8
    assert (weight_of(shared)[:10] == 0).all()
    assert len(weight_of(shared)[10:].unique()) == 8


def moments_of(weight):
    n_columns = weight.value()[0].numel()
    return torch.eye(n_columns, dtype=torch.float64).expand(1, -1, -1) + 0.5


def test_a_weight_with_feedback_is_on_a_grid_that_is_held_and_stays_there():
    quantized = layer()
    weight, options = only_weight(quantized), GridOptions()
    options.put_on_grid_with_feedback(weight, 4, moments_of(weight))
    (grid,) = constraints_on(quantized, "weight")
    assert isinstance(grid, HeldGrid)
    assert options.is_on_grid(weight, 4)
    assert not options.is_on_grid(weight, 3)
    before = weight_of(quantized).clone()
    options.put_on_grid(weight, 4, generator=generator())
    assert constraints_on(quantized, "weight") == (grid,)
    assert torch.equal(weight_of(quantized), before)


def test_only_weights_under_masks_alone_take_feedback():
    plain, masked, shared = layer(), layer(), layer()
    hold(masked, Mask(torch.rand(30, 40) < 0.5))
    GridOptions(scheme="kmeans").put_on_grid(only_weight(shared), 3, generator=generator())
    assert [takes_feedback(only_weight(module)) for module in (plain, masked, shared)] == [True, True, False]
    zeros = weight_of(masked) == 0
    GridOptions().put_on_grid_with_feedback(only_weight(masked), 4, moments_of(only_weight(masked)))
    assert (weight_of(masked)[zeros] == 0).all()
