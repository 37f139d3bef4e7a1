"""A model's double on the meta device: shapes without values, and the model itself left alone."""

import torch
from torch import nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.masks import Mask
from effbench.measure.meta import meta_double


def network():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    model.table = torch.ones(5)  # neither parameter nor buffer
    return model


def test_every_tensor_is_on_meta_with_its_shape_and_type():
    model = network().double()
    double = meta_double(model, {})
    for (name, tensor), (other, copied) in zip(model.state_dict().items(), double.state_dict().items(), strict=True):
        assert name == other
        assert copied.is_meta
        assert (copied.shape, copied.dtype) == (tensor.shape, tensor.dtype)
    assert double.table.is_meta
    assert not double.training
    assert not any(parameter.requires_grad for parameter in double.parameters())


def test_the_model_keeps_its_tensors_and_its_mode():
    model = network().train()
    addresses = [tensor.data_ptr() for tensor in model.state_dict().values()]
    meta_double(model, {})
    assert [tensor.data_ptr() for tensor in model.state_dict().values()] == addresses
    assert model.training
    assert not model.table.is_meta


def test_constrained_tensors_are_plain_ones_in_the_double():
    model = network()
    parametrize.register_parametrization(model[0], "weight", Mask(torch.ones(4, 3)))
    stand_in = torch.empty(4, 3, device="meta")
    double = meta_double(model, {("0", "weight"): stand_in})
    assert type(double[0]) is nn.Linear
    assert not parametrize.is_parametrized(double[0])
    assert double[0].weight.is_meta
    assert parametrize.is_parametrized(model[0], "weight")


def test_a_shared_tensor_stays_shared():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    double = meta_double(model, {})
    assert double[0].weight is double[1].weight
