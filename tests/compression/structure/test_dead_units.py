"""What does nothing for a network goes, and what it computes stays."""

import copy

import pytest
import torch
from torch import nn

from effbench.compression.structure.channels import remove_channels
from effbench.compression.structure.dead_units import find_units_without, fold_constants, remove_dead_units


def hand_made():
    """Of six hidden units, one has no inputs, one no readers, and one a single reader that itself has none."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        for layer in (network[1], network[3], network[5]):
            layer.weight.fill_(1.0)
            layer.bias.copy_(torch.arange(1, len(layer.bias) + 1))
        network[1].weight[0] = 0  # no inputs: gives relu(1) = 1 to each of the next
        network[3].weight[:, 1] = 0  # no readers
        network[5].weight[:, 2] = 0  # nothing reads unit 2 of the second layer …
        network[3].weight[:2, 4] = 0  # … which alone reads unit 4 of the first
    return network


def images(seed=0, n=4, side=2):
    return torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(seed))


def test_nothing_that_is_left_is_dead():
    network = hand_made()
    before = copy.deepcopy(network)
    assert remove_dead_units(network, images()) == 4
    assert [tuple(layer.weight.shape) for layer in (network[1], network[3], network[5])] == [(3, 4), (2, 3), (2, 2)]
    assert network[3].bias.tolist() == [2.0, 3.0]
    torch.testing.assert_close(network(images(seed=1)), before(images(seed=1)))
    assert remove_dead_units(network, images()) == 0
    assert network.training


def with_channels_of(network, act):
    """Return what `act` returns for the layers' channels; nothing is removed."""
    results = []

    def choose(layers):
        results.append(act(layers))
        return [torch.zeros(0, dtype=torch.int64) for _ in layers]

    remove_channels(network, images(), choose)
    return results[0]


def test_units_without_inputs_and_without_readers_are_found():
    def find(layers):
        return {
            (channels.layer, side): [unit.tolist() for unit in find_units_without(channels, side)]
            for channels in layers
            for side in ("inputs", "readers")
        }

    assert with_channels_of(hand_made(), find) == {
        ("1", "inputs"): [[0]],
        ("1", "readers"): [[1]],
        ("3", "inputs"): [],
        ("3", "readers"): [[2]],
    }


def test_a_constant_goes_into_the_biases_and_its_readers_are_gone():
    network = hand_made()
    before = copy.deepcopy(network)

    def fold(layers):
        (hidden,) = (channels for channels in layers if channels.layer == "1")
        fold_constants(network, [(hidden, [torch.tensor([0])])], images())

    with_channels_of(network, fold)
    assert not network[3].weight[:, 0].any()
    assert network[3].bias.tolist() == [2.0, 3.0, 4.0]
    torch.testing.assert_close(network(images(seed=1)), before(images(seed=1)))


def convolutions(*, inplace, padding=0, bias=True):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.ReLU(inplace=inplace),
            nn.Conv2d(4, 3, 3, padding=padding, bias=bias),
            nn.ReLU(inplace=inplace),
            nn.Flatten(),
            nn.Linear(3 * (6 + 2 * padding) ** 2, 4),
        )
    with torch.no_grad():
        network[0].weight[1] = 0
        network[0].bias[1] = 1.0
    return network


@pytest.mark.parametrize("inplace", [False, True])
def test_a_constant_map_is_folded_whether_or_not_an_activation_writes_in_place(inplace):
    network = convolutions(inplace=inplace)
    before = copy.deepcopy(network)
    assert remove_dead_units(network, images(side=8)) == 1
    assert network[0].out_channels == 3
    torch.testing.assert_close(network(images(seed=1, side=8)), before(images(seed=1, side=8)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("options", [{"padding": 1}, {"bias": False}])
def test_beside_a_padded_border_and_before_a_layer_without_bias_it_is_no_bias(options):
    network = convolutions(inplace=False, **options)
    before = copy.deepcopy(network)
    assert remove_dead_units(network, images(side=8)) == 0
    assert torch.equal(network(images(side=8)), before(images(side=8)))


def test_a_layer_keeps_one_unit():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    with torch.no_grad():
        network[3].weight.zero_()
    assert remove_dead_units(network, images()) == 4
    assert network[1].out_features == network[3].in_features == 1


class MakesATensor(nn.Module):
    """Starts its recurrent layer from zeros of one type, so that it does not run in float64."""

    def __init__(self):
        super().__init__()
        self.hidden, self.read, self.last = nn.LSTM(4, 3, batch_first=True), nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, images):
        start = torch.zeros(1, len(images), 3)
        return self.last(self.read(self.hidden(images[:, 0], (start, start))[0][:, -1]).relu())


def test_where_float64_does_not_run_units_without_readers_go_all_the_same():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = MakesATensor().eval()
    with torch.no_grad():
        network.read.weight[0] = 0  # gives a constant, which is not folded
        network.last.weight[:, 1] = 0
    before = copy.deepcopy(network)
    assert remove_dead_units(network, images(side=4)) == 1
    assert network.read.out_features == 4
    torch.testing.assert_close(network(images(seed=1, side=4)), before(images(seed=1, side=4)))
