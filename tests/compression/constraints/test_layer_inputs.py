"""What rounds or casts the inputs of layers: where it stands, what it does, how it goes along."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from effbench.compression.constraints.layer_inputs import (
    InputCast,
    InputGrid,
    clear_input,
    constraints_on_inputs,
    grid_on,
    impose_on_input,
    set_input,
)

ends = st.floats(0, 100, width=32)


@given(ends, ends, st.integers(1, 16))
def test_zero_is_a_level_and_no_value_within_moves_by_more_than_half_a_step(below, above, bits):
    grid = InputGrid.between(-below, above, bits=bits)
    assert 0 <= grid.zero_point < 2**bits
    assert grid.round(torch.zeros(1)) == 0
    first, last = (code * grid.scale for code in (-grid.zero_point, 2**bits - 1 - grid.zero_point))
    values = torch.linspace(first, last, 100)
    assert ((grid.round(values) - values).abs() <= 0.5 * grid.scale * (1 + 1e-3)).all()
    assert len(grid.round(values).unique()) <= 2**bits


def test_beyond_its_ends_a_grid_cuts_off_and_gives_no_gradient():
    grid = InputGrid.between(-1.0, 2.0, bits=4)
    values = torch.tensor([-5.0, 0.33, 7.0], requires_grad=True)
    rounded = grid.round(values)
    rounded.sum().backward()
    assert rounded.tolist() == pytest.approx([-1.0, 0.4, 2.0], abs=1e-6)
    assert values.grad.tolist() == [0.0, 1.0, 0.0]
    assert torch.equal(rounded.detach(), grid.round(values.detach())), "training sees what evaluation has"


def test_an_input_that_is_always_zero_has_a_grid():
    assert InputGrid.between(0.0, 0.0, bits=8) == InputGrid(bits=8, scale=1.0, zero_point=0)


def test_a_layer_gets_the_rounded_input_once():
    layer, images = nn.Linear(3, 2), torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    for bits in (8, 2):  # the second takes the first one's place
        grid = InputGrid.between(-1.0, 1.0, bits=bits)
        set_input(layer, grid)
    assert grid_on(layer) == grid
    with torch.no_grad():
        expected = nn.functional.linear(grid.round(images), layer.weight, layer.bias)
        assert torch.equal(layer(images), expected)
        assert torch.equal(copy.deepcopy(layer)(images), expected)
        clear_input(layer, InputGrid)
        assert grid_on(layer) is None
        assert torch.equal(layer(images), nn.functional.linear(images, layer.weight, layer.bias))


def test_a_cast_network_takes_any_floats_and_casts_before_it_rounds():
    layer = nn.Linear(3, 2)
    set_input(layer, InputGrid.between(-1.0, 1.0, bits=4))
    set_input(layer, InputCast(dtype="bfloat16"))
    assert layer.weight.dtype == torch.bfloat16
    assert layer(torch.ones(1, 3)).dtype == torch.bfloat16
    assert [type(constraint) for _, _, constraint in constraints_on_inputs(layer)] == [InputCast, InputGrid]
    numbers = torch.ones(1, 3, dtype=torch.int64)
    kept = ((numbers, 3.0), {"lengths": numbers})
    assert InputCast(dtype="float16")(layer, *kept) == kept, "only floating tensors are cast"
    assert layer(input=torch.ones(1, 3)).dtype == torch.bfloat16


@pytest.mark.parametrize("constraint", [InputGrid(bits=5, scale=0.25, zero_point=3), InputCast(dtype="float16")])
def test_it_is_made_again_from_its_settings(constraint):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    impose_on_input(model[1], constraint.settings())
    assert [(name, told) for name, _, told in constraints_on_inputs(model)] == [("1", constraint)]


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="unknown kind of constraint: 'input_lattice'"):
        impose_on_input(nn.Linear(2, 2), {"kind": "input_lattice"})
