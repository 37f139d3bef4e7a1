import math

import pytest
import torch
from torch import nn

from effbench.codec import encode
from effbench.compression.constraints.learned_grid import LearnedGrid
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.stack import bake, register
from effbench.training.loop import TrainingOptions, fit
from effbench.training.rate_pressure import RatePressure

CPU = torch.device("cpu")


def on_grids(model, wanted_bits):
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            step = (layer.weight.detach().abs().max().clamp(min=1e-6) / 8).log()
            register(layer, "weight", LearnedGrid(step, wanted_bits=wanted_bits, coder="none"))
    return model


def coded_bits(module, coder):
    return 8 * len(encode(module, coder=coder))


def reached(model):
    """Return a network whose parameters all have a gradient, of nothing, as after a backward pass."""
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    return model


def train(model, data, *, epochs=12, seed=0, lr=1e-2, **options):
    return fit(
        model,
        data,
        TrainingOptions(epochs=epochs, lr=lr, **options),
        side=8,
        generator=torch.Generator().manual_seed(seed),
        device=CPU,
        loss=lambda outputs, images, targets: nn.functional.cross_entropy(outputs, targets),
        code_length=lambda module, coder: len(encode(module, coder=coder)),
    )


def test_a_network_without_learned_grids_is_under_no_pressure(toy_network):
    assert RatePressure.on(toy_network(), n_steps=10, device=CPU) is None


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("options", [{}, {"ema": 0.9}, {"clip": 1.0}])
def test_codes_end_at_the_length_that_is_wanted(toy_network, toy_data, options):
    model = on_grids(toy_network(), 1.0)
    at_first = sum(map(_payload, _weights(model)))
    for layer in model.modules():
        if isinstance(layer, LearnedGrid):
            layer.wanted_bits = at_first / 3
    train(model, toy_data, epochs=40, **options)
    assert sum(map(_payload, _weights(model))) == pytest.approx(at_first / 3, rel=0.4)


def _weights(model):
    return [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


def _payload(layer):
    """Return the bits of a layer's codes, each by how often it occurs: less than their record's."""
    codes = layer.parametrizations.weight[0].quantize(layer.parametrizations.weight.original).codes
    module = nn.Module()
    module.register_buffer("codes", codes)
    return coded_bits(module, "none") - 8 * 20


def test_the_gradient_is_the_price_times_the_slope_of_the_bits(toy_network):
    model = reached(on_grids(toy_network(), 10.0))
    pressure = RatePressure.on(model, n_steps=100, device=CPU)
    pressure._integral = -3.0
    pressure._off = lambda done: 0.0
    pressure.add_gradients(0)
    held = pressure._held[0]
    layer = model[0]
    behind, grid = layer.parametrizations.weight.original, layer.parametrizations.weight[0]
    inverse = float(torch.exp(-grid.log_step.detach()))
    ratio = behind.grad / (pressure._slopes[0] * inverse)
    price = float(ratio[pressure._slopes[0] != 0].median())
    assert torch.allclose(behind.grad, price * inverse * pressure._slopes[0])
    assert math.exp(-3.5) < price <= 1
    assert 10 * float(grid.position.grad) == pytest.approx(-float((behind.grad * behind.detach()).sum()), rel=1e-4)
    assert bool((behind.grad * behind >= 0).all())  # towards zero
    assert held.parameter is behind


def test_what_a_mask_holds_costs_nothing_and_is_not_pushed(toy_network):
    model = toy_network()
    mask = torch.zeros_like(model[0].weight, dtype=torch.bool)
    register(model[0], "weight", Mask(mask))
    model = reached(on_grids(model, 10.0))
    pressure = RatePressure.on(model, n_steps=100, device=CPU)
    pressure.add_gradients(0)
    assert bool((model[0].parametrizations.weight.original.grad == 0).all())


def test_the_price_rises_while_codes_take_too_much_and_falls_while_they_take_too_little(toy_network):
    for wanted, sign in ((1.0, 1), (1e9, -1)):
        pressure = RatePressure.on(reached(on_grids(toy_network(), wanted)), n_steps=100, device=CPU)
        pressure.add_gradients(0)
        first = pressure._integral
        for step in range(90, 100):
            pressure.add_gradients(step)
        assert sign * (pressure._integral - first) > 0


@pytest.mark.extended
def test_the_same_training_gives_the_same_bits(toy_network, toy_data):
    one, other = on_grids(toy_network(), 2000.0), on_grids(toy_network(), 2000.0)
    train(one, toy_data, epochs=3)
    train(other, toy_data, epochs=3)
    states = (bake(model).state_dict().values() for model in (one, other))
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))


def test_steps_become_wider_where_the_price_does_not_suffice_and_never_narrower(toy_network):
    for wanted, is_wider in ((1.0, True), (1e9, False)):
        model = reached(on_grids(toy_network(), wanted))
        pressure = RatePressure.on(model, n_steps=100, device=CPU)
        pressure.add_gradients(0)
        before = float(model[0].parametrizations.weight[0].log_step.detach())
        for step in range(90, 100):
            pressure.add_gradients(step)
        after = float(model[0].parametrizations.weight[0].log_step.detach())
        assert after > before + 0.01 if is_wider else after == before


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("lr", [1e-4, 1e-3, 3e-2])
def test_the_length_is_kept_at_any_learning_rate(toy_network, toy_data, lr):
    model = on_grids(toy_network(), 1.0)
    wanted = sum(map(_payload, _weights(model))) / 3
    for grid in model.modules():
        if isinstance(grid, LearnedGrid):
            grid.wanted_bits = wanted
    train(model, toy_data, epochs=30, lr=lr)
    assert sum(map(_payload, _weights(model))) == pytest.approx(wanted, rel=0.4)


def test_without_a_length_to_reach_there_is_no_pressure(toy_network, toy_data):
    model = on_grids(toy_network(), 1.0)
    before = [grid.position.detach().clone() for grid in model.modules() if isinstance(grid, LearnedGrid)]
    fit(
        model,
        toy_data,
        TrainingOptions(epochs=1, lr=1e-9, weight_decay=0.0),
        side=8,
        generator=torch.Generator().manual_seed(0),
        device=CPU,
        loss=lambda outputs, images, targets: nn.functional.cross_entropy(outputs, targets),
    )
    after = [grid.position.detach() for grid in model.modules() if isinstance(grid, LearnedGrid)]
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(before, after, strict=True))


def test_what_the_loss_does_not_reach_is_left_alone(toy_network):
    model = on_grids(toy_network(), 1.0)
    first, *others = (layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear))
    reached(first)
    before = [float(layer.parametrizations.weight[0].log_step.detach()) for layer in (first, *others)]
    pressure = RatePressure.on(model, n_steps=100, device=CPU)
    for step in range(90, 100):
        pressure.add_gradients(step)
    after = [float(layer.parametrizations.weight[0].log_step.detach()) for layer in (first, *others)]
    assert after[0] > before[0]
    assert after[1:] == before[1:]
    assert all(parameter.grad is None for layer in others for parameter in layer.parameters())
