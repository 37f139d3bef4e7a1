"""Summed gradients over training examples."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.masks import Mask
from effbench.tasks.classification import Classification
from effbench.training import gradients
from effbench.training.gradients import sum_gradients


def summed(network, tensors_of, data, *, seed=0):
    return sum_gradients(
        network,
        tensors_of,
        data,
        task=Classification(),
        side=8,
        device=torch.device("cpu"),
        generator=torch.Generator().manual_seed(seed),
    )


def test_they_are_the_gradients_of_the_summed_loss_of_all_examples_whatever_the_batches(
    toy_data, toy_network, monkeypatch
):
    network = toy_network().eval()
    images, labels = next(toy_data.batches("train", side=8, batch_size=1000))
    loss = F.cross_entropy(network(images), labels, reduction="sum")
    expected = torch.autograd.grad(loss, [network[0].weight, network[5].bias])
    for size in (250, 50, 7):
        monkeypatch.setattr(gradients, "BATCH_SIZE", size)
        found, n_seen = summed(network, lambda: [network[0].weight, network[5].bias], toy_data)
        assert n_seen == 203
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_no_more_batches_are_seen_than_are_needed(toy_data, toy_network, monkeypatch):
    monkeypatch.setattr(gradients, "BATCH_SIZE", 50)
    monkeypatch.setattr(gradients, "N_SCORING_EXAMPLES", 60)
    network = toy_network()
    one, n_seen = summed(network, lambda: [network[5].bias], toy_data)
    other, _ = summed(network, lambda: [network[5].bias], toy_data, seed=1)
    again, _ = summed(network, lambda: [network[5].bias], toy_data)
    assert n_seen == 100
    assert torch.equal(one[0], again[0])
    assert not torch.equal(one[0], other[0])  # other examples were drawn


def test_of_what_the_network_does_not_use_they_are_zero(toy_data, toy_network):
    network = toy_network()
    network.auxiliary = nn.Linear(3, 2)
    with torch.no_grad():
        network.forward = network[:6].forward
    (used, unused), _ = summed(network, lambda: [network[5].weight, network.auxiliary.weight], toy_data)
    assert used.abs().sum() > 0
    assert torch.equal(unused, torch.zeros(2, 3))


def test_of_a_constrained_tensor_they_are_those_of_what_the_forward_pass_uses(toy_data, toy_network):
    network, mask = toy_network(), torch.rand(4, 96, generator=torch.Generator().manual_seed(0)) > 0.5
    parametrize.register_parametrization(network[5], "weight", Mask(mask))
    baked = toy_network()
    with torch.no_grad():
        baked[5].weight.mul_(mask)
    (found,), _ = summed(network, lambda: [network[5].weight], toy_data)
    (expected,), _ = summed(baked, lambda: [baked[5].weight], toy_data)
    torch.testing.assert_close(found, expected)
    assert (found[~mask] != 0).any()  # also where the mask holds: that is what tells which should come back


@pytest.mark.parametrize("training", [True, False])
def test_the_network_stays_as_it_was(toy_data, toy_network, training):
    network = toy_network().train(training)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    summed(network, lambda: [network[5].weight], toy_data)
    assert network.training is training
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_frozen_network_has_gradients_and_stays_frozen(toy_data, toy_network):
    network, frozen = toy_network(), toy_network().requires_grad_(False)
    expected, _ = summed(network, lambda: [network[0].weight], toy_data)
    found, _ = summed(frozen, lambda: [frozen[0].weight], toy_data)
    assert torch.equal(found[0], expected[0])
    assert not any(parameter.requires_grad for parameter in frozen.parameters())


def test_images_are_seen_as_evaluation_sees_them_not_augmented(make_toy_data, toy_network):
    network = toy_network().eval()
    plain, augmenting = make_toy_data(), make_toy_data(augment="crop_flip")
    (found,), _ = summed(network, lambda: [network[0].weight], augmenting)
    (expected,), _ = summed(network, lambda: [network[0].weight], plain)
    assert torch.equal(found, expected)
