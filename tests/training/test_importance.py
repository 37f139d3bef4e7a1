"""How important each weight is: by its magnitude, by its gradient, or at random."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.stack import register
from effbench.compression.layers import weights_of
from effbench.training.importance import score_weights


def no_gradients(model, tensors_of):
    raise AssertionError("not asked for")


def fixed_gradients(model, tensors_of):
    return [torch.full_like(tensor, -2.0) for tensor in tensors_of()], 4


@pytest.fixture
def layers(toy_network):
    network = toy_network()
    return network, [network[0], network[5]]


def row_norms(model, weights):
    return {
        weight.name: torch.arange(1.0, weight.value()[0].numel() + 1).reshape(weight.value()[0].shape)
        for weight in weights
    }


def scored(layers, criterion, sum_gradients=no_gradients, *, seed=0, input_norms=row_norms):
    generator = torch.Generator().manual_seed(seed)
    network, wanted = layers
    weights = [next(weight for weight in weights_of(network) if weight.module is layer) for layer in wanted]
    return score_weights(
        network, weights, criterion, generator=generator, sum_gradients=sum_gradients, input_norms=input_norms
    )


def test_magnitude_is_that_of_the_weight_in_use(layers):
    network, (convolution, linear) = layers
    mask = torch.rand(4, 96, generator=torch.Generator().manual_seed(0)) > 0.5
    parametrize.register_parametrization(linear, "weight", Mask(mask))
    first, second = scored((network, [convolution, linear]), "magnitude")
    assert torch.equal(first, convolution.weight.detach().abs())
    assert torch.equal(second == 0, ~mask)


def test_gradient_is_that_times_the_mean_gradient_without_a_sign(layers):
    scores = scored(layers, "gradient", fixed_gradients)
    for layer, score in zip(layers[1], scores, strict=True):
        torch.testing.assert_close(score, 0.5 * layer.weight.detach().abs())
        assert score.min() >= 0


def test_activation_is_the_magnitude_times_the_norm_of_the_input(layers):
    for layer, score in zip(layers[1], scored(layers, "activation"), strict=True):
        norms = torch.arange(1.0, layer.weight[0].numel() + 1).reshape(layer.weight[0].shape)
        assert torch.equal(score, layer.weight.detach().abs() * norms)


def test_weights_whose_inputs_are_not_seen_are_named(layers):
    message = r"^criterion=activation: what 0, 5 is multiplied with is not seen .*; have such layers skipped by layers="
    with pytest.raises(ValueError, match=message):
        scored(layers, "activation", input_norms=lambda model, weights: {})


def test_random_is_drawn_from_the_generator_whatever_the_weights(layers):
    one, again, other = (scored(layers, "random", seed=seed) for seed in (0, 0, 1))
    assert all(map(torch.equal, one, again))
    assert not any(map(torch.equal, one, other))
    assert [score.shape for score in one] == [layer.weight.shape for layer in layers[1]]


@pytest.mark.parametrize("criterion", ["magnitude", "gradient", "activation", "random"])
def test_nothing_of_no_layers(layers, criterion):
    assert scored((layers[0], []), criterion, fixed_gradients) == []


@pytest.mark.parametrize("criterion", ["magnitude", "gradient"])
def test_no_gradient_is_kept_of_a_score(layers, criterion):
    assert not any(score.requires_grad for score in scored(layers, criterion, partial(fixed_gradients)))


def test_the_gradient_of_a_tied_weight_is_that_of_all_its_uses():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    for layer in model:
        register(layer, "weight", Mask(torch.ones(3, 3, dtype=torch.bool)))
    (score,) = scored((model, [model[0]]), "gradient", fixed_gradients)
    assert len(list(weights_of(model))) == 1
    torch.testing.assert_close(score, 2 * 0.5 * model[0].weight.detach().abs())
