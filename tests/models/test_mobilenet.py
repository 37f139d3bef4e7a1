import pytest
import torch
from torch import nn

from effbench.measure.compute import count_cost
from effbench.models import mobilenet_v1


@pytest.mark.parametrize(
    ("alpha", "side", "params", "macs"), [(1.0, 224, 4_231_976, 568_740_352), (0.5, 160, 1_331_592, 76_524_800)]
)
def test_counts_of_the_paper(alpha, side, params, macs):
    cost = count_cost(mobilenet_v1(alpha=alpha), (3, side, side))
    assert (cost.params, cost.macs, cost.unknown) == (params, macs, ())


def test_shapes_and_gradients():
    torch.manual_seed(0)
    model = mobilenet_v1(num_classes=7, in_channels=2)
    outputs = model(torch.randn(2, 2, 64, 64))
    outputs.square().sum().backward()
    assert outputs.shape == (2, 7)
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


@pytest.mark.extended
def test_early_strides_cost_less_than_even_ones_than_late_ones():
    costs = {
        pooling: count_cost(mobilenet_v1(alpha=0.25, pooling=pooling), (3, 64, 64))
        for pooling in ("early", "even", "late", "1-3-5-7-13")
    }
    assert len({cost.params for cost in costs.values()}) == 1
    assert costs["early"].macs < costs["even"].macs < costs["late"].macs
    assert costs["1-3-5-7-13"] == count_cost(mobilenet_v1(alpha=0.25), (3, 64, 64))


@pytest.mark.parametrize(
    ("pooling", "strided"),
    [("early", [1, 2, 3, 4, 5]), ("even", [3, 5, 7, 10, 12]), ("late", [10, 11, 12, 13, 14]), ("2-14", [2, 14])],
)
def test_layers_of_stride_2(pooling, strided):
    with torch.device("meta"):
        layers = list(mobilenet_v1(alpha=0.25, pooling=pooling).features)
    strides = [next(m for m in layer.modules() if isinstance(m, nn.Conv2d)).stride[0] for layer in layers]
    assert [number for number, stride in enumerate(strides, start=1) if stride == 2] == strided


def test_mobilenet_refuses_layers_that_it_has_not():
    with pytest.raises(ValueError, match="ascending layer numbers from 1 to 14, as in 1-3; got '15'"):
        mobilenet_v1(pooling="15")


@pytest.mark.parametrize(("bands", "n_channels"), [("both", 12), ("low", 3)])
def test_bands_are_what_the_stem_takes(bands, n_channels):
    model = mobilenet_v1(alpha=0.25, bands=bands, num_classes=10)
    plain = mobilenet_v1(alpha=0.25, in_channels=n_channels, num_classes=10)
    one, other = count_cost(model, (3, 63, 63)), count_cost(plain, (n_channels, 32, 32))
    assert (one.macs, one.params, one.unknown) == (other.macs, other.params, ())
