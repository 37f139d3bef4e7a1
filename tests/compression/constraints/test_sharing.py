"""A layer's numbers tied to the values that k-means finds."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.codebook import Codebook, MovingCodebook
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.quantizer import UniformQuantizer
from effbench.compression.constraints.sharing import share_values
from effbench.compression.constraints.stack import constraints_on
from effbench.compression.layers import weight_of


def layer(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(40, 30)


def share(module, tensor_name="weight", n_values=8, **options):
    generator = torch.Generator().manual_seed(0)
    share_values(module, tensor_name, n_values, name="layer", generator=generator, **{"initial": "linear", **options})
    return module


@pytest.mark.parametrize("initial", ["linear", "density", "random"])
def test_there_are_so_many_values_each_the_mean_of_its_numbers(initial):
    before = weight_of(layer())
    weight = weight_of(share(layer(), initial=initial))
    values = weight.unique()
    assert len(values) == 8
    means = torch.stack([before[weight == value].mean() for value in values])
    assert torch.allclose(values, means, atol=1e-6)
    assert ((weight - before).abs() <= (before[..., None] - values).abs().amin(-1) + 1e-6).all(), "the nearest one"


def test_zeros_stay_and_cost_no_value_and_what_held_them_is_settled():
    masked = layer()
    mask = torch.rand(30, 40, generator=torch.Generator().manual_seed(1)) < 0.3
    parametrize.register_parametrization(masked, "weight", Mask(mask))
    parametrize.register_parametrization(masked, "weight", UniformQuantizer(16))
    share(masked)
    (codebook,) = constraints_on(masked, "weight")
    assert type(codebook) is Codebook
    assert torch.equal(weight_of(masked) == 0, ~mask)
    assert len(weight_of(masked)[mask].unique()) == 8


def test_few_numbers_are_kept_exactly():
    few = layer()
    with torch.no_grad():
        few.weight.copy_(torch.tensor([-1.5, 0.0, 0.25, 3.0]).repeat(30, 10))
    before = weight_of(few).clone()
    assert torch.equal(weight_of(share(few)), before)
    assert constraints_on(few, "weight")[0].n_values == 3


def test_a_bias_nearer_to_zero_than_to_its_value_becomes_zero():
    biased = layer()
    with torch.no_grad():
        biased.bias.copy_(torch.tensor([1.0] * 14 + [-1.0] * 15 + [0.01]))
    share(biased, "bias", 2)
    assert biased.bias.tolist() == pytest.approx([1.0] * 14 + [-1.0] * 15 + [0.0])
    assert biased.bias[-1] == 0


def test_values_of_bfloat16_have_its_bits():
    weight = weight_of(share(layer(), precision="bfloat16"))
    assert torch.equal(weight.bfloat16().float(), weight)
    assert len(weight.unique()) == 8


def test_values_that_may_change_start_where_the_others_do():
    moving = share(layer(), reassign=3)
    (codebook,) = constraints_on(moving, "weight")
    assert isinstance(codebook, MovingCodebook)
    assert codebook.every == 3
    assert torch.equal(weight_of(moving), weight_of(share(layer())))


def test_a_tensor_of_zeros_keeps_what_it_has():
    empty = layer()
    nn.init.zeros_(empty.weight)
    parametrize.register_parametrization(empty, "weight", Mask(torch.ones(30, 40, dtype=torch.bool)))
    share(empty)
    assert [type(constraint) for constraint in constraints_on(empty, "weight")] == [Mask]


def test_what_is_not_finite_is_refused_with_the_layers_name():
    broken = layer()
    with torch.no_grad():
        broken.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="layer: a weight that is not finite can't be shared"):
        share(broken)
