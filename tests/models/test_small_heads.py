import pytest
import torch
from torch import nn

from effbench.models.small_heads import check_head, head_layers


@pytest.mark.parametrize(
    ("head", "hidden", "kinds"),
    [
        ("gap", 500, ["GlobalAveragePool", "Flatten", "Linear"]),
        ("flatten", 500, ["Identity", "Flatten", "Linear"]),
        ("linear", 20, ["Identity", "Flatten", "Linear", "ReLU", "Linear"]),
        ("linear", "20-10", ["Identity", "Flatten", "Linear", "ReLU", "Linear", "ReLU", "Linear"]),
        ("conv", 500, ["Conv2d", "ReLU", "GlobalAveragePool", "Flatten"]),
    ],
)
def test_layers_and_shapes(head, hidden, kinds):
    layers = head_layers(head, n_in=6, side=3, hidden=hidden, num_classes=4)
    assert [type(layer).__name__ for layer in layers.values()] == kinds
    assert nn.Sequential(layers)(torch.zeros(2, 6, 3, 3)).shape == (2, 4)


def test_the_convolution_is_averaged_after_its_relu():
    # Without the ReLU it would be the linear layer of the average.
    head = nn.Sequential(head_layers("conv", n_in=6, side=3, hidden=500, num_classes=4))
    maps = torch.randn(2, 6, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(head(maps), head.classifier(maps).relu().mean((2, 3)), atol=1e-6)


@pytest.mark.parametrize(
    ("head", "hidden", "message"),
    [
        ("max", 500, "head must be one of gap, flatten, linear, conv, got 'max'"),
        ("gap", 100, "hidden=100: head=gap has no hidden layer"),
        ("conv", "300-100", "hidden=300-100: head=conv has no hidden layer"),
        ("linear", 0, "hidden must be a width of at least 1"),
    ],
)
def test_what_can_not_be_is_refused(head, hidden, message):
    with pytest.raises(ValueError, match=message):
        check_head(head, hidden)
