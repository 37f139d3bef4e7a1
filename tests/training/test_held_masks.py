"""Masks that act after each step leave the network that masks in every forward pass leave, to the last bit."""

import copy
from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from effbench.constraints import bake, constraints_on, hold, weight_layers
from effbench.masks import Mask, RampedMask
from effbench.models import small_cnn
from effbench.quantizer import UniformQuantizer
from effbench.training import loop
from effbench.training.evaluation import evaluate
from effbench.training.held_masks import held_after_steps
from effbench.training.loop import TrainingOptions, fit

CPU = torch.device("cpu")


def network(seed=0):
    torch.manual_seed(seed)
    return small_cnn(num_classes=4, input_side=8)


def halves(weight, seed=0):
    return torch.rand(weight.shape, generator=torch.Generator().manual_seed(seed)) < 0.5


def fixed(layer):
    hold(layer, Mask(halves(layer.weight)))


def settled(layer):
    mask = halves(layer.weight)
    options = {"n_start": mask.numel(), "n_kept": int(mask.sum()), "dims": (), "ramp": 1.0, "every": 1}
    hold(layer, RampedMask(mask, regrow=True, settled=True, **options))


def moving(layer):
    mask = halves(layer.weight)
    options = {"n_start": mask.numel(), "n_kept": int(mask.sum()), "dims": (), "ramp": 1.0, "every": 1}
    hold(layer, RampedMask(mask, regrow=False, **options))


def quantized(layer):
    fixed(layer)
    parametrize.register_parametrization(layer, "weight", UniformQuantizer(bits=4))


def masked(impose):
    model = network()
    for _, layer in weight_layers(model):
        impose(layer)
    return model


def train(model, data, **options):
    options = TrainingOptions(**{"epochs": 3, "lr": 3e-3, "weight_decay": 0.1, **options})
    fit(model, data, options, side=8, generator=torch.Generator().manual_seed(0), device=CPU)


@contextmanager
def in_every_pass(model):
    yield lambda: None


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("impose", [fixed, settled, moving, quantized])
def test_the_trained_network_is_the_same(impose, precision, toy_data, monkeypatch):
    quick, plain = masked(impose), masked(impose)
    kinds = [type(module) for module in quick.modules()]
    train(quick, toy_data, precision=precision)
    monkeypatch.setattr(loop, "held_after_steps", in_every_pass)
    train(plain, toy_data, precision=precision)
    expected = bake(plain).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in bake(quick).state_dict().items())
    assert quick.state_dict().keys() == plain.state_dict().keys()
    assert [type(module) for module in quick.modules()] == kinds
    assert all(len(constraints_on(layer, "weight")) >= 1 for _, layer in weight_layers(quick))


def test_what_was_behind_a_mask_is_gone():
    layer = nn.Linear(8, 8)
    fixed(layer)
    mask = constraints_on(layer, "weight")[0].mask
    with held_after_steps(layer) as hold_all:
        weight = layer.weight
        assert weight is layer.parametrizations.weight.original
        assert torch.equal(weight != 0, mask)
        with torch.no_grad():
            weight += 1
        hold_all()
        assert torch.equal(weight != 0, mask)
    assert torch.equal(layer.parametrizations.weight.original != 0, mask)


@pytest.mark.parametrize("impose", [moving, quantized])
def test_other_constraints_are_left_to_act_in_every_pass(impose):
    model = masked(impose)
    with held_after_steps(model):
        assert all(parametrize.is_parametrized(layer, "weight") for _, layer in weight_layers(model))
        assert not any("weight" in layer._parameters for _, layer in weight_layers(model))


def test_a_parameter_that_two_layers_share_keeps_both_masks():
    one, other = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
    other.weight = one.weight
    hold(one, Mask(torch.tril(torch.ones(6, 6))))
    hold(other, Mask(torch.triu(torch.ones(6, 6))))
    model = nn.Sequential(one, other)
    before = copy.deepcopy(model)
    with held_after_steps(model):
        assert torch.equal(one.weight, before[0].weight)
        assert torch.equal(other.weight, before[1].weight)
    assert torch.equal(one.parametrizations.weight.original, before[0].parametrizations.weight.original)


def test_an_error_leaves_the_masks_in_their_place():
    model = masked(fixed)
    with pytest.raises(KeyError), held_after_steps(model):
        raise KeyError
    assert all(parametrize.is_parametrized(layer, "weight") for _, layer in weight_layers(model))
    assert not any("weight" in layer._parameters for _, layer in weight_layers(model))
    copied = copy.deepcopy(model)
    for (_, layer), (_, original) in zip(weight_layers(copied), weight_layers(model), strict=True):
        assert torch.equal(layer.weight, original.weight)


def test_a_network_can_be_evaluated_meanwhile(toy_data):
    model = masked(fixed)
    expected = evaluate(model, toy_data, "val", side=8)
    with held_after_steps(model):
        found = evaluate(model, toy_data, "val", side=8)
    assert found.loss == expected.loss
