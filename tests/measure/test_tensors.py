"""The parameters of a model as it stands, each in every place; and how many of their values are not zero."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.quantizer import UniformQuantizer
from effbench.compression.constraints.sharing import share_values
from effbench.measure import tensors
from effbench.measure.tensors import count_nonzero, parameter_places, standing_modules


def places_of(model):
    return [(place.layer, place.tensor) for place in parameter_places(model)]


def test_parameters_stand_in_the_order_of_the_modules_buffers_do_not():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2))
    assert places_of(model) == [("0", "weight"), ("1", "weight"), ("1", "bias")]


def test_a_shared_one_stands_in_every_place():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    assert places_of(model) == [("0", "weight"), ("1", "weight")]
    twice = nn.ModuleDict({"a": model[0], "b": model[0]})
    assert places_of(twice) == [("a", "weight"), ("b", "weight")]


def test_what_constraints_hold_is_no_parameter_of_the_model():
    layer = nn.Linear(4, 4)
    parametrize.register_parametrization(layer, "weight", Mask(torch.eye(4)))
    parametrize.register_parametrization(layer, "weight", UniformQuantizer(4))
    assert sorted(places_of(layer)) == [("", "bias"), ("", "weight")]
    assert [name for name, _ in standing_modules(layer)] == [""]
    (weight,) = (place for place in parameter_places(layer) if place.tensor == "weight")
    assert torch.equal(weight.value(), layer.weight.detach())
    assert not weight.value().requires_grad


def test_a_constraint_of_two_tensors_and_a_codebook_make_one():
    normed = parametrizations.weight_norm(nn.Linear(6, 5))
    assert sorted(places_of(normed)) == [("", "bias"), ("", "weight")]
    shared = nn.Linear(6, 5)
    share_values(shared, "weight", 4, name="", initial="linear", generator=torch.Generator())
    (weight,) = (place for place in parameter_places(shared) if place.tensor == "weight")
    assert weight.value().shape == (5, 6)


def test_on_meta_where_constraints_can_not_run_the_shape_is_known():
    layer = nn.Linear(4, 3)
    parametrize.register_parametrization(layer, "weight", UniformQuantizer(4))
    (weight,) = (place for place in parameter_places(layer.to("meta")) if place.tensor == "weight")
    assert weight.value().is_meta
    assert weight.value().shape == (3, 4)


@given(st.lists(st.sampled_from([0.0, -0.0, 1.0, -2.5, float("nan"), float("inf"), 1e-45]), max_size=40))
def test_zero_is_zero_with_either_sign_and_nothing_else_is(values):
    expected = sum(value != 0 for value in values)
    for dtype in (torch.float32, torch.float64):
        assert count_nonzero(torch.tensor(values, dtype=dtype)) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_any_type_and_form_is_counted_in_pieces(monkeypatch, dtype):
    monkeypatch.setattr(tensors, "CHUNK", 7)
    marks = torch.rand(6, 10, generator=torch.Generator().manual_seed(0)) > 0.5
    for tensor in (marks.to(dtype), marks.to(dtype).t(), marks.to(dtype)[::2]):
        assert count_nonzero(tensor) == int((tensor != 0).sum())


def test_without_values_all_count():
    assert count_nonzero(torch.empty(3, 4, device="meta")) == 12
