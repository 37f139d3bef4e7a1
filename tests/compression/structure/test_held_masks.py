"""Masks that act after each step leave the network that masks in every forward pass leave."""

import copy
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from effbench.compression.constraints.masks import Mask, RampedMask
from effbench.compression.constraints.quantizer import UniformQuantizer
from effbench.compression.constraints.stack import bake, constraints_on, hold
from effbench.compression.layers import weight_layers
from effbench.compression.structure.held_masks import HeldMasks, masked_after_steps
from effbench.models import shufflenet_v1, small_cnn
from effbench.tasks.classification import Classification
from effbench.training import loop
from effbench.training.evaluation import evaluate
from effbench.training.loop import TrainingOptions, fit

CPU = torch.device("cpu")


def cross_entropy(outputs, images, targets):
    return F.cross_entropy(outputs, targets)


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
    fit(model, data, options, side=8, generator=torch.Generator().manual_seed(0), device=CPU, loss=cross_entropy)


@contextmanager
def in_every_pass(model):
    yield HeldMasks()


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("impose", [fixed, settled, moving, quantized])
def test_the_trained_network_is_the_same(impose, precision, toy_data, monkeypatch):
    quick, plain = masked(impose), masked(impose)
    kinds = [type(module) for module in quick.modules()]
    train(quick, toy_data, precision=precision)
    monkeypatch.setattr(loop, "masked_after_steps", in_every_pass)
    train(plain, toy_data, precision=precision)
    expected = bake(plain).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in bake(quick).state_dict().items())
    assert quick.state_dict().keys() == plain.state_dict().keys()
    assert [type(module) for module in quick.modules()] == kinds
    for _, layer in weight_layers(quick):
        original, mask = layer.parametrizations.weight.original, constraints_on(layer, "weight")[0].mask
        assert (impose in (fixed, settled)) == bool((original[~mask] == 0).all())


@pytest.mark.extended
def test_where_strides_choose_another_kernel_only_rounding_differs(toy_data, monkeypatch):
    def trained():
        torch.manual_seed(0)
        model = shufflenet_v1(num_classes=4, in_channels=1, scale=0.25)
        for _, layer in weight_layers(model):
            fixed(layer)
        train(model, toy_data, epochs=1, lr=1e-3)
        return bake(model).state_dict()

    quick = trained()
    monkeypatch.setattr(loop, "masked_after_steps", in_every_pass)
    for name, value in trained().items():
        torch.testing.assert_close(quick[name], value, rtol=0.05, atol=0.02)


def test_what_was_behind_a_mask_is_gone():
    layer = nn.Linear(8, 8)
    fixed(layer)
    mask = constraints_on(layer, "weight")[0].mask
    with masked_after_steps(layer) as held:
        weight = layer.weight
        assert weight is layer.parametrizations.weight.original
        assert torch.equal(weight != 0, mask)
        with torch.no_grad():
            weight += 1
        held.mask_weights()
        assert torch.equal(weight != 0, mask)
    assert torch.equal(layer.parametrizations.weight.original != 0, mask)


@pytest.mark.parametrize("impose", [moving, quantized])
def test_other_constraints_are_left_to_act_in_every_pass(impose):
    model = masked(impose)
    with masked_after_steps(model):
        assert all(parametrize.is_parametrized(layer, "weight") for _, layer in weight_layers(model))
        assert not any("weight" in layer._parameters for _, layer in weight_layers(model))


def test_a_parameter_that_two_layers_share_keeps_both_masks():
    one, other = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
    other.weight = one.weight
    hold(one, Mask(torch.tril(torch.ones(6, 6))))
    hold(other, Mask(torch.triu(torch.ones(6, 6))))
    model = nn.Sequential(one, other)
    before = copy.deepcopy(model)
    with masked_after_steps(model):
        assert torch.equal(one.weight, before[0].weight)
        assert torch.equal(other.weight, before[1].weight)
    assert torch.equal(one.parametrizations.weight.original, before[0].parametrizations.weight.original)


def test_a_storage_that_two_parameters_share_is_left_alone():
    one, other = nn.Linear(6, 6), nn.Linear(6, 6)
    other.weight = nn.Parameter(one.weight.data)
    before = one.weight.detach().clone()
    fixed(other)
    with masked_after_steps(nn.Sequential(one, other)):
        assert torch.equal(one.weight, before)
        assert parametrize.is_parametrized(other, "weight") and "weight" not in other._parameters


def test_a_module_with_other_constraints_is_left_alone():
    layer = nn.Linear(6, 6)
    fixed(layer)
    parametrize.register_parametrization(layer, "bias", Mask(torch.arange(6) < 3))
    with masked_after_steps(layer):
        assert not {"weight", "bias"} & set(layer._parameters)


def test_parametrizations_of_another_make_train_as_they_did(toy_data):
    layers = nn.Sequential(nn.Flatten(), parametrizations.weight_norm(nn.Linear(64, 8)), nn.ReLU(), nn.Linear(8, 4))
    fixed(layers[3])
    train(layers, toy_data, epochs=1)
    assert set(layers[1].parametrizations.weight.state_dict()) == {"original0", "original1"}


def test_masked_weights_have_no_gradient_where_they_are_to_have_none():
    layer = nn.Linear(4, 4)
    fixed(layer)
    mask = constraints_on(layer, "weight")[0].mask
    with masked_after_steps(layer) as held:
        held.mask_gradients()  # there is none yet
        (layer(torch.ones(2, 4)) * torch.tensor([1.0, torch.inf, 1.0, 1.0])).sum().backward()
        held.mask_gradients()
        assert torch.equal(layer.weight.grad != 0, mask)
        assert layer.bias.grad.all()


def test_what_is_not_a_number_does_not_come_through_a_mask():
    layer = nn.Linear(2, 2).requires_grad_(False)
    layer.weight[0, 0], layer.weight[1, 1] = torch.nan, torch.inf
    hold(layer, Mask(torch.tensor([[False, True], [True, False]])))
    with masked_after_steps(layer) as held:
        held.mask_weights()
        assert layer.weight.isfinite().all()


def test_an_error_leaves_the_masks_in_their_place():
    model = masked(fixed)
    with pytest.raises(KeyError), masked_after_steps(model):
        raise KeyError
    assert all(parametrize.is_parametrized(layer, "weight") for _, layer in weight_layers(model))
    assert not any("weight" in layer._parameters for _, layer in weight_layers(model))
    copied = copy.deepcopy(model)
    for (_, layer), (_, original) in zip(weight_layers(copied), weight_layers(model), strict=True):
        assert torch.equal(layer.weight, original.weight)


def test_a_network_can_be_evaluated_meanwhile(toy_data):
    model = masked(fixed)
    expected = evaluate(model, toy_data, "val", task=Classification(), side=8)
    with masked_after_steps(model):
        evaluated = evaluate(model, toy_data, "val", task=Classification(), side=8)
    assert evaluated.loss == expected.loss
