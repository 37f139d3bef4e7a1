import pytest
import torch
from torch import nn

from effbench.codec import decode, encode
from effbench.compression.constraints.copies import copy_network
from effbench.compression.constraints.described import describe, impose
from effbench.compression.constraints.learned_grid import CLOSED_AT, LearnedGrid, learned_grid_on
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.stack import bake, register


def grid(step=0.1, **options):
    return LearnedGrid(torch.tensor(step).log(), **{"wanted_bits": 100.0, "coder": "context", **options})


@pytest.fixture
def layer():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = nn.Linear(6, 4)
    register(layer, "weight", grid())
    return layer


def test_training_sees_the_very_values_of_the_file(layer):
    trained = layer.weight
    with torch.no_grad():
        assert torch.equal(layer.weight, trained)
    assert torch.equal(decode(encode(layer), layer).weight, trained)
    assert torch.equal(bake(layer).weight, trained)
    assert torch.equal(trained, torch.round(trained / 0.1) * torch.tensor(0.1).log().exp())


def test_gradients_pass_through_and_move_the_step(layer):
    behind = layer.parametrizations.weight.original
    factors = torch.arange(24.0).view(4, 6)
    (layer.weight * factors).sum().backward()
    assert torch.equal(behind.grad, factors)
    slope = (layer.weight - behind).detach()  # whole, however many weights: what codes cost has its slope in it, too
    assert 10 * float(layer.parametrizations.weight[0].position.grad) == pytest.approx(float((slope * factors).sum()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_codes_are_whole_in_any_type(dtype):
    weight = torch.linspace(-1, 1, 21).to(dtype)
    stored = grid().quantize(weight)
    assert int(stored.codes.abs().max()) == 10
    assert 2 ** (stored.bits - 1) > 10
    assert grid()(weight).dtype == dtype


def test_what_is_not_finite_is_refused(layer):
    with torch.no_grad():
        layer.parametrizations.weight.original[0, 0] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        encode(layer)


def test_it_can_be_made_again(layer):
    register(layer, "bias", Mask(torch.tensor([True, False, True, True])))
    register(layer, "bias", grid(0.2, settled=True))
    again = nn.Linear(6, 4)
    impose(again, describe(layer))
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again.weight, layer.weight)
    assert torch.equal(again.bias, layer.bias)
    assert learned_grid_on(again, "bias").settings() == learned_grid_on(layer, "bias").settings()
    assert torch.equal(copy_network(layer).weight, layer.weight)


def test_it_is_settled_once_the_length_is_what_is_wanted():
    one = grid()
    for step in range(11):
        one.advance(torch.ones(1), step, 10)
        assert one.settled == (step >= 10 * CLOSED_AT)
    one.advance(torch.ones(1), 0, 10)  # another training
    assert not one.settled


def test_a_network_of_another_type_has_the_same_grid(layer):
    codes = layer.parametrizations.weight[0].quantize(layer.parametrizations.weight.original).codes
    cast = copy_network(layer).bfloat16()
    assert cast.parametrizations.weight[0].position.dtype == torch.float32
    assert int((cast.parametrizations.weight[0].quantize(cast.weight).codes - codes).abs().max()) <= 1
    assert torch.equal(decode(encode(cast), cast).weight, cast.weight)


def test_only_the_last_word_counts():
    layer = nn.Linear(2, 2)
    assert learned_grid_on(layer, "weight") is None
    register(layer, "weight", Mask(torch.ones(2, 2, dtype=torch.bool)))
    assert learned_grid_on(layer, "weight") is None
