import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from effbench.codec import decode, encode
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.stack import constraints_on, register
from effbench.compression.even_grid import (
    MOST,
    choose_multiples,
    entropy_bits,
    hold_on_grid,
    least_step,
    nearest_multiples,
)
from effbench.compression.feedback import spread_of_errors
from effbench.compression.layers import weights_of

LAYERS = {
    "linear": lambda: nn.Linear(40, 30),
    "convolution": lambda: nn.Conv2d(6, 16, 3),
    "grouped": lambda: nn.Conv2d(8, 16, 3, groups=4),
    "depthwise": lambda: nn.Conv1d(16, 16, 5, groups=16),
    "transposed": lambda: nn.ConvTranspose2d(4, 6, 3),
}


def spread_for(layer, n_examples=300):
    groups, columns = getattr(layer, "groups", 1), layer.weight[0].numel()
    inputs = torch.randn(groups, n_examples, columns, dtype=torch.float64)
    inputs += inputs.mean(2, keepdim=True) * 3
    return spread_of_errors(inputs.transpose(1, 2) @ inputs / n_examples)


@pytest.mark.matrix(fast=5)
@pytest.mark.parametrize("is_trellis", [False, True])
@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_weight_is_on_its_grid_and_comes_back_from_its_file(kind, feedback, is_trellis):
    torch.manual_seed(0)
    layer = LAYERS[kind]()
    (weight,) = weights_of(layer)
    before, step = weight.value().clone(), 0.02
    spread = spread_for(layer) if feedback and kind != "transposed" else None
    multiples = choose_multiples(before, step, spread=spread, price=0.05, is_trellis=is_trellis)
    hold_on_grid(weight, multiples, step, is_trellis=is_trellis)
    assert torch.equal(layer.weight, (multiples * torch.tensor(step)).float())
    assert float((layer.weight.detach() - before).abs().mean()) < 2 * step
    for coder in ("none", "huffman", "ans", "context"):
        again = decode(encode(layer, coder=coder), LAYERS[kind]())
        assert torch.equal(again.weight, layer.weight)


def test_codes_of_a_trellis_take_less_than_the_multiples_for_which_they_stand():
    torch.manual_seed(0)
    sizes = {}
    for is_trellis in (False, True):
        layer = nn.Linear(128, 256, bias=False)
        nn.init.normal_(layer.weight)
        multiples = choose_multiples(layer.weight.detach(), 0.2, spread=None, price=0.0, is_trellis=True)
        hold_on_grid(next(weights_of(layer)), multiples, 0.2, is_trellis=is_trellis)
        sizes[is_trellis] = len(encode(layer, coder="context"))
    assert sizes[True] < 0.8 * sizes[False]


def test_a_price_takes_bits_and_gives_error():
    torch.manual_seed(0)
    values = torch.randn(64, 64)
    found = []
    for price in (0.0, 0.1, 0.3):
        multiples = choose_multiples(values, 0.5, spread=None, price=price)
        found.append((entropy_bits(multiples), float((values - 0.5 * multiples).square().sum())))
    bits, errors = zip(*found, strict=True)
    assert bits[0] > bits[1] > bits[2]
    assert errors[0] < errors[1] < errors[2]
    assert torch.equal(choose_multiples(values, 0.5, spread=None, price=0.0), nearest_multiples(values, 0.5))


@pytest.mark.parametrize("is_trellis", [False, True])
@pytest.mark.parametrize("feedback", [False, True])
def test_what_a_mask_holds_stays_zero(feedback, is_trellis):
    torch.manual_seed(0)
    layer = nn.Linear(40, 30)
    register(layer, "weight", Mask(torch.rand(30, 40) < 0.4))
    (weight,) = weights_of(layer)
    zeros = weight.value() == 0
    spread = spread_for(layer) if feedback else None
    multiples = choose_multiples(weight.value(), 0.01, spread=spread, price=0.0, is_trellis=is_trellis)
    hold_on_grid(weight, multiples, 0.01, is_trellis=is_trellis)
    assert not layer.weight[zeros].any()
    assert layer.weight[~zeros].any()
    assert len(constraints_on(layer, "weight")) == 2


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30))
def test_the_least_step_has_a_multiple_for_each_value(values):
    values = torch.tensor(values)
    step = least_step(values)
    multiples = nearest_multiples(values, step)
    assert int(multiples.abs().max()) < MOST
    assert torch.allclose(multiples.double() * step, values.double(), atol=step)
