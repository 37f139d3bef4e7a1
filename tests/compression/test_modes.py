import pytest
import torch
from torch import nn

from effbench.compression.modes import all_trainable, evaluating


def partly_frozen():
    """A network that trains, but for its batch norm, which is neither trained nor in training mode."""
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2).eval().requires_grad_(False), nn.Dropout())
    return network


def modes(network):
    return [module.training for module in network.modules()]


def trained(network):
    return {name: parameter.requires_grad for name, parameter in network.named_parameters()}


def test_every_module_has_its_own_mode_again():
    network = partly_frozen()
    before = modes(network)
    with evaluating(network):
        assert not any(modes(network))
    assert modes(network) == before == [True, True, False, True]


def test_the_modes_come_back_after_an_error_too():
    network = partly_frozen()
    before = modes(network)
    with pytest.raises(ZeroDivisionError), evaluating(network):
        raise ZeroDivisionError
    assert modes(network) == before


def test_within_one_another_the_outer_one_ends_it():
    network = partly_frozen()
    with evaluating(network):
        with evaluating(network):
            pass
        assert not any(modes(network))
    assert network.training


def test_every_parameter_gets_a_gradient_and_none_is_left():
    network = partly_frozen()
    before = trained(network)
    with evaluating(network), all_trainable(network):
        network(torch.ones(1, 1, 2, 2)).sum().backward()
        assert all(parameter.grad is not None for parameter in network.parameters())
    assert trained(network) == before
    assert set(before.values()) == {True, False}
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_parameter_that_was_exchanged_trains_as_the_one_before():
    network = partly_frozen()
    with all_trainable(network):
        network[1].weight = nn.Parameter(torch.ones(1))
        network[0].weight = nn.Parameter(torch.ones(1, 1, 1, 1), requires_grad=False)
        network.extra = nn.Linear(1, 1)
        network.extra.bias.requires_grad_(False)
    assert not network[1].weight.requires_grad
    assert network[0].weight.requires_grad
    assert (network.extra.weight.requires_grad, network.extra.bias.requires_grad) == (True, False)


def test_a_parameter_of_integers_gets_no_gradient():
    network = partly_frozen()
    network.steps = nn.Parameter(torch.zeros(2, dtype=torch.int64), requires_grad=False)
    with all_trainable(network):
        assert [name for name, wanted in trained(network).items() if not wanted] == ["steps"]
    assert not network.steps.requires_grad
