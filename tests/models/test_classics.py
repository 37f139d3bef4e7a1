import inspect

import pytest
import torch
from torch import nn

from effbench.measure.compute import count_cost
from effbench.models import lenet_5, lenet_300_100, mobilenet_v1


def weights_without_biases(model):
    return sum(parameter.numel() for parameter in model.parameters() if parameter.ndim > 1)


@pytest.mark.parametrize(
    ("factory", "size", "params", "macs"),
    [
        (lenet_300_100, (1, 28, 28), 266_610, 266_200),
        (lenet_5, (1, 28, 28), 431_080, 2_293_000),
        (mobilenet_v1, (3, 224, 224), 4_231_976, 568_740_352),
        (lambda: mobilenet_v1(alpha=0.5), (3, 160, 160), 1_331_592, 76_524_800),
    ],
)
def test_counts_of_the_papers(factory, size, params, macs):
    cost = count_cost(factory(), size)
    assert (cost.params, cost.macs, cost.unknown) == (params, macs, ())


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


@pytest.mark.parametrize(("factory", "side"), [(lenet_300_100, 28), (lenet_5, 28), (mobilenet_v1, 64)])
def test_shapes_and_gradients(factory, side):
    torch.manual_seed(0)
    model = factory(num_classes=7, in_channels=2)
    outcome = model(torch.randn(2, 2, side, side))
    outcome.square().sum().backward()
    assert outcome.shape == (2, 7)
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_mobilenet_reduces_the_side_five_times_and_names_its_blocks():
    model = mobilenet_v1(alpha=0.25, num_classes=10)
    with torch.no_grad():
        assert model.features.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 256, 2, 2)
    assert len([module for module in model.modules() if isinstance(module, nn.Conv2d)]) == 27


@pytest.mark.parametrize("alpha", [0, -0.5, float("nan"), float("inf"), "wide"])
def test_mobilenet_refuses_a_width(alpha):
    with pytest.raises(ValueError, match="alpha must be a finite number above 0"):
        mobilenet_v1(alpha=alpha)


@pytest.mark.parametrize(("n_in", "n_out", "kernel", "side"), [(32, 64, 3, 14), (8, 16, 5, 9)])
def test_depthwise_separable_costs_1_over_n_plus_1_over_k_squared(n_in, n_out, kernel, side):
    # arXiv:1704.04861, section 3.1.
    standard = nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2, bias=False)
    separable = nn.Sequential(
        nn.Conv2d(n_in, n_in, kernel, padding=kernel // 2, groups=n_in, bias=False),
        nn.Conv2d(n_in, n_out, 1, bias=False),
    )
    whole, cheap = (count_cost(layer, (n_in, side, side)).macs for layer in (standard, separable))
    assert cheap * n_out * kernel**2 == whole * (kernel**2 + n_out)


def test_lenet_5_may_rectify_after_its_poolings_with_the_same_weights():
    plain, rectified = lenet_5(), lenet_5(activation="relu")
    assert {name: t.shape for name, t in plain.state_dict().items()} == {
        name: t.shape for name, t in rectified.state_dict().items()
    }
    assert [type(layer).__name__ for layer in rectified][:6] == ["Conv2d", "MaxPool2d", "ReLU"] * 2
    with pytest.raises(ValueError, match="activation must be none or relu, got 'tanh'"):
        lenet_5(activation="tanh")
