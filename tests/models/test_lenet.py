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
