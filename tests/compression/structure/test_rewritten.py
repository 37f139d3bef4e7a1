import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from effbench.compression.structure.rewritten import (
    Norm,
    Rewritten,
    build_rewritten,
    can_rewrite,
    n_entries,
    separable_widths,
    shuffled_widths,
)

LAYERS = {
    "square": (nn.Conv2d(4, 8, 3, padding=1), (4, 9, 10)),
    "strided, uneven": (nn.Conv2d(4, 8, (1, 7), stride=(1, 2), padding=(0, 3), bias=False), (4, 9, 10)),
    "dilated, reflected": (nn.Conv2d(4, 8, 3, padding=2, dilation=2, padding_mode="reflect"), (4, 9, 10)),
    "same": (nn.Conv2d(4, 8, 5, padding="same"), (4, 9, 10)),
    "one channel": (nn.Conv2d(1, 8, 5), (1, 9, 10)),
    "1-D": (nn.Conv1d(4, 8, 3, stride=2), (4, 11)),
    "3-D": (nn.Conv3d(4, 8, 2), (4, 5, 6, 7)),
    "double": (nn.Conv2d(4, 8, 3, dtype=torch.float64), (4, 9, 10)),
}


@pytest.mark.parametrize("norm", [None, Norm(10_000, 100_000)])
@pytest.mark.parametrize("name", LAYERS)
def test_a_depthwise_and_a_pointwise_convolution_have_the_outputs_and_the_formula_of_the_layer(name, norm):
    layer, size = LAYERS[name]
    state = torch.get_rng_state()
    chain = build_rewritten(layer, separable_widths(layer, norm))
    assert torch.equal(torch.get_rng_state(), state)
    images = torch.randn(2, *size, dtype=layer.weight.dtype)
    assert chain.eval()(images).shape == layer(images).shape
    weights = chain.depthwise.weight.numel() + chain.pointwise.weight.numel()
    n_places, n_out = math.prod(layer.kernel_size), layer.out_channels
    assert weights * n_out * n_places == layer.weight.numel() * (n_places + n_out)  # 1/N + 1/k²
    assert (chain.last.bias is None) == (layer.bias is None)
    assert chain.depthwise.bias is None
    own = sum(tensor.numel() for name, tensor in chain.state_dict().items() if not name.endswith("pointwise.bias"))
    assert own == n_entries(layer, chain.widths)
    assert all(tensor.dtype == layer.weight.dtype for tensor in chain.parameters())


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "one channel"])
def test_a_grouped_convolution_and_its_shuffle_have_the_outputs_of_the_layer(name):
    layer, size = LAYERS[name]
    chain = build_rewritten(layer, shuffled_widths(layer, 4))
    images = torch.randn(2, *size, dtype=layer.weight.dtype)
    assert chain(images).shape == layer(images).shape
    assert chain.grouped.weight.numel() * 4 == layer.weight.numel()
    assert chain.last is chain.grouped


def test_a_shuffle_of_four_channels_in_two_groups_is_1_3_2_4():
    chain = build_rewritten(nn.Conv2d(4, 4, 3, padding=1, bias=False), (4, 4, 2, 0, 0))
    images = torch.arange(1.0, 5.0).reshape(1, 4, 1, 1)
    assert chain.shuffle(images).flatten().tolist() == [1, 3, 2, 4]


def test_modes_devices_and_what_trains_are_the_layers():
    layer = nn.Conv2d(4, 8, 3, device="meta").eval().requires_grad_(False)
    chain = build_rewritten(layer, separable_widths(layer, Norm(1, 1)))
    assert not any(module.training for module in chain.modules())
    assert all(tensor.is_meta and not tensor.requires_grad for tensor in chain.parameters())


class Padding(nn.Conv2d):
    def forward(self, images):
        return super().forward(nn.functional.pad(images, (1, 1, 1, 1)))


class Scaled(nn.Conv2d):
    def __init__(self, *args):
        super().__init__(*args)
        self.scale = nn.Parameter(torch.ones(8, 1, 1, 1))


class Named(nn.Conv2d):
    """A class that does what torch's does."""


@pytest.mark.parametrize(
    ("layer", "can"),
    [
        *((layer, True) for layer, _ in LAYERS.values()),
        (Named(4, 8, 3), True),
        (parametrizations.weight_norm(nn.Conv2d(4, 8, 3)), True),
        (nn.Conv2d(4, 8, 1), False),
        (nn.Conv2d(4, 8, 3, groups=2), False),
        (nn.ConvTranspose2d(4, 8, 3), False),
        (nn.Linear(4, 8), False),
        (Padding(4, 8, 3), False),
        (Scaled(4, 8, 3), False),
        (Rewritten(), False),
    ],
)
def test_what_can_be_rewritten_is_a_convolution_as_torch_has_it(layer, can):
    assert can_rewrite(layer) == can


@pytest.mark.parametrize(
    ("norm", "settings"),
    [
        (nn.BatchNorm2d(4), (1e-5, 0.1)),
        (nn.BatchNorm2d(4, eps=1e-3, momentum=0.01), (1e-3, 0.01)),
        (nn.BatchNorm1d(4, momentum=1 - 0.9997), (1e-5, 0.0003)),
        (nn.BatchNorm2d(4, eps=0, momentum=None), (1e-9, 0.1)),
        (nn.BatchNorm2d(4, momentum=0.0), (1e-5, 0.1)),
    ],
)
def test_a_norm_has_the_settings_of_its_like(norm, settings):
    like = Norm.like(norm)
    assert like.is_valid
    chain = build_rewritten(nn.Conv2d(4, 8, 3), (4, 8, 0, like.epsilon, like.momentum))
    assert (chain.norm.eps, chain.norm.momentum) == settings
