import inspect

import pytest
import torch

from effbench.measure.compute import count_cost
from effbench.models import lenet_5, lenet_300_100


@pytest.mark.parametrize(
    ("factory", "params", "macs"), [(lenet_300_100, 266_610, 266_200), (lenet_5, 431_080, 2_293_000)]
)
def test_counts_of_the_papers(factory, params, macs):
    cost = count_cost(factory(), (1, 28, 28))
    assert (cost.params, cost.macs, cost.unknown) == (params, macs, ())


@pytest.mark.parametrize("factory", [lenet_300_100, lenet_5])
def test_shapes_and_gradients(factory):
    torch.manual_seed(0)
    model = factory(num_classes=7, in_channels=2)
    outputs = model(torch.randn(2, 2, 28, 28))
    outputs.square().sum().backward()
    assert outputs.shape == (2, 7)
    assert all(parameter.grad is not None for parameter in model.parameters())


def weights_without_biases(model):
    return sum(parameter.numel() for parameter in model.parameters() if parameter.ndim > 1)


def test_weights_of_deep_compression():
    assert weights_without_biases(lenet_300_100()) == 266_200
    assert weights_without_biases(lenet_5()) == 430_500


def test_lenet_5_is_caffes():
    kinds = [type(module).__name__ for module in lenet_5().children()]
    assert kinds == ["Conv2d", "MaxPool2d", "Conv2d", "MaxPool2d", "Flatten", "Linear", "ReLU", "Linear"]


@pytest.mark.parametrize("side", [13, 14, 21, 28, 32, 33])
def test_lenet_5_on_other_sides(side):
    assert lenet_5(input_side=side, in_channels=3)(torch.zeros(2, 3, side, side)).shape == (2, 10)


def test_lenet_5_says_which_side_is_too_small():
    with pytest.raises(ValueError, match="input_side must be at least 13 for lenet_5"):
        lenet_5(input_side=12)


@pytest.mark.parametrize("factory", [lenet_300_100, lenet_5])
def test_lenets_read_no_axis(factory):
    assert not {"alpha", "pooling"} & set(inspect.signature(factory).parameters)


def test_lenet_5_may_rectify_after_its_poolings_with_the_same_weights():
    plain, rectified = lenet_5(), lenet_5(activation="relu")
    assert {name: t.shape for name, t in plain.state_dict().items()} == {
        name: t.shape for name, t in rectified.state_dict().items()
    }
    assert [type(layer).__name__ for layer in rectified][:6] == ["Conv2d", "MaxPool2d", "ReLU"] * 2
    with pytest.raises(ValueError, match="activation must be none or relu, got 'tanh'"):
        lenet_5(activation="tanh")


@pytest.mark.parametrize(
    ("factory", "hidden", "n_weights"),
    [
        (lenet_5, 100, 500 + 25_000 + 800 * 100 + 100 * 10),
        (lenet_5, "50", 500 + 25_000 + 800 * 50 + 50 * 10),
        (lenet_300_100, 50, 784 * 50 + 50 * 50 + 50 * 10),
        (lenet_300_100, "200-80", 784 * 200 + 200 * 80 + 80 * 10),
        (lenet_300_100, [300, 100], 266_200),
    ],
)
def test_hidden_layers_have_the_widths_that_are_asked_for(factory, hidden, n_weights):
    assert weights_without_biases(factory(hidden=hidden)) == n_weights


@pytest.mark.parametrize(
    ("factory", "hidden", "message"),
    [
        (lenet_5, "300-100", "hidden=300-100: the network has 1 hidden layer, and 2 widths are given"),
        (lenet_300_100, "3-2-1", "hidden=3-2-1: the network has 2 hidden layers, and 3 widths are given"),
        (lenet_5, 0, "hidden must be a width of at least 1"),
    ],
)
def test_other_hidden_layers_are_refused(factory, hidden, message):
    with pytest.raises(ValueError, match=message):
        factory(hidden=hidden)


@pytest.mark.parametrize("factory", [lenet_300_100, lenet_5])
@pytest.mark.parametrize(("bands", "n_channels"), [("both", 4), ("low", 1)])
@pytest.mark.parametrize("side", [27, 28])
def test_lenets_take_bands_at_half_the_side(factory, bands, n_channels, side):
    network = factory(bands=bands, in_channels=3, input_side=side)
    assert network(torch.zeros(2, 3, side, side)).shape == (2, 10)
    plain = factory(in_channels=3 * n_channels, input_side=14)
    assert count_cost(network, (3, side, side)).macs == count_cost(plain, (3 * n_channels, 14, 14)).macs


def test_lenet_5_says_which_side_is_too_small_for_bands():
    assert lenet_5(bands="low", input_side=25)(torch.zeros(1, 1, 25, 25)).shape == (1, 10)
    with pytest.raises(ValueError, match=r"input_side must be at least 25 for lenet_5 .*bands=low.*got 24"):
        lenet_5(bands="low", input_side=24)
