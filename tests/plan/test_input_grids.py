"""Which activations are put on grids, and over what range: what the stages that do so share."""

import dataclasses

import pytest
import torch

from effbench import models
from effbench.plan.input_grids import InputGridOptions, outermost


@pytest.fixture
def transformer():
    torch.manual_seed(0)
    return models.small_vit(patch=2, depth=1, heads=2, width=16, num_classes=4, input_side=8)


def test_products_are_there_or_not_before_anything_runs(transformer, toy_network):
    images = torch.zeros(2, 1, 8, 8)
    assert InputGridOptions().with_products(transformer, images).products is True
    assert InputGridOptions().with_products(toy_network(), images).products == "auto"
    assert InputGridOptions(products=False).with_products(transformer, images).products is False


def test_grids_have_the_widths_that_are_asked_for_of_each(transformer, toy_data, make_context):
    context = make_context(toy_data)
    assert list(InputGridOptions().multiplying(transformer, context)) == ["blocks.0.attention"]
    assert InputGridOptions(products=False).multiplying(transformer, context) == []
    layers = {"classifier": 3, "blocks.0.mlp.hidden": 5}
    grids, products = InputGridOptions().calibrated(transformer, layers, {"blocks.0.attention": 4}, context)
    assert {name: grid.bits for name, grid in grids.items()} == layers
    assert {grid.bits for grid in products["blocks.0.attention"].grids} == {4}
    narrow = dataclasses.replace(InputGridOptions(), range="percentile", percentile=90.0)
    cut, none = narrow.calibrated(transformer, layers, {}, context)
    assert none == {} and cut["classifier"].scale < grids["classifier"].scale


def test_a_part_has_the_value_of_what_it_multiplies_within():
    assert outermost(["", "a.b"], {"": 4, "a.b": 4}.get) == [""]
    assert outermost(["a", "a.b"], {"a": None, "a.b": 4}.get) == ["a.b"]
    with pytest.raises(ValueError, match=r"layers: a\.b multiplies within a: give both one value"):
        outermost(["a", "a.b"], {"a": 4, "a.b": 8}.get)
    with pytest.raises(ValueError, match=r"within the network: give both"):
        outermost(["", "a.b"], {"": 4, "a.b": None}.get)
