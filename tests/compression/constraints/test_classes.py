"""Copies of constrained modules, each with a class of its own."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.classes import own_class
from effbench.compression.constraints.masks import Mask


@pytest.fixture
def constrained():
    layer = nn.Linear(3, 2)
    for name, shape in (("weight", (2, 3)), ("bias", (2,))):
        parametrize.register_parametrization(layer, name, Mask(torch.ones(shape, dtype=torch.bool)))
    return layer


def test_a_copy_shares_its_class_until_it_has_its_own(constrained):
    twin = copy.deepcopy(constrained)
    assert type(twin) is type(constrained)
    own_class(twin)
    assert type(twin) is not type(constrained)
    assert isinstance(twin, nn.Linear)
    assert torch.equal(twin.weight, constrained.weight)
    assert torch.equal(twin(torch.ones(1, 3)), constrained(torch.ones(1, 3)))


def test_a_property_that_is_taken_away_stays_the_others(constrained):
    twin = copy.deepcopy(constrained)
    own_class(twin, without="bias")
    assert not isinstance(vars(type(twin)).get("bias"), property)
    assert isinstance(vars(type(constrained))["bias"], property)


def test_a_module_without_constraints_keeps_its_class():
    layer = nn.Linear(3, 2)
    own_class(layer)
    assert type(layer) is nn.Linear
