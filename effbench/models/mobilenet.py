"""MobileNetV1: depthwise separable convolutions and the width multiplier (Howard et al. 2017, arXiv:1704.04861)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from torch import nn

from effbench.models.arguments import require_positive_integers, require_width, scaled_width
from effbench.models.downsampling import pooling_layers
from effbench.models.haar import split_input, splitting
from effbench.models.pooling import GlobalAveragePool

VERSION = 1  # bumped when equal options build another network

STEM_CHANNELS = 32
BLOCKS = (64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)
"""Output channels of the depthwise separable blocks: table 1."""
STRIDES = "1-3-5-7-13"
"""The layers of stride 2, counted from the stem. The last depthwise layer, number 14, is printed with stride 2, which
table 1's own sizes (7 × 7 before and after) and the published multiply-adds contradict: it is 1."""


def mobilenet_v1(
    *,
    alpha: float = 1.0,
    pooling: str | int | Iterable[int] = STRIDES,
    bands: str = "none",
    num_classes: int = 1000,
    in_channels: int = 3,
) -> nn.Sequential:
    """Build MobileNetV1 of width `alpha`. Input (N, in_channels, H, W) of any side (the paper's: 224).

    Every convolution is followed by batch norm and ReLU; the network reduces the side 32 times (rounding up), then
    averages over what is left. ValueError for an `alpha` that is not finite and above 0, a count under 1, and layers
    that there are not.

    pooling: which of the 14 layers (the stem and 13 blocks) have stride 2, by their numbers from 1; "early", "even" and
    "late" place five. No parameter moves with them. bands: what the network takes in, as for `small_cnn`.

    >>> sum(parameter.numel() for parameter in mobilenet_v1(alpha=0.5).parameters())
    1331592
    """
    require_width(alpha)
    require_positive_integers(num_classes=num_classes, in_channels=in_channels)
    strided = pooling_layers(pooling, n_layers=1 + len(BLOCKS), n_poolings=5)
    n_taken, _ = split_input(bands, in_channels, 1)
    width = scaled_width(STEM_CHANNELS, alpha)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        stem=_convolution(n_taken, width, kernel=3, stride=2 if 1 in strided else 1)
    )
    for number, channels in enumerate(BLOCKS, start=1):
        stride = 2 if number + 1 in strided else 1
        layers[f"block{number}"] = _separable(width, scaled_width(channels, alpha), stride=stride)
        width = scaled_width(channels, alpha)
    return nn.Sequential(
        OrderedDict(
            **splitting(bands),
            features=nn.Sequential(layers),
            pool=GlobalAveragePool(),
            flatten=nn.Flatten(),
            classifier=nn.Linear(width, num_classes),
        )
    )


def _separable(n_in: int, n_out: int, *, stride: int) -> nn.Sequential:
    """Build a depthwise 3×3 and a pointwise convolution (section 3.1)."""
    return nn.Sequential(
        OrderedDict(
            depthwise=_convolution(n_in, n_in, kernel=3, stride=stride, groups=n_in),
            pointwise=_convolution(n_in, n_out, kernel=1, stride=1),
        )
    )


def _convolution(n_in: int, n_out: int, *, kernel: int, stride: int, groups: int = 1) -> nn.Sequential:
    """Build convolution (same padding, no bias), batch norm, ReLU."""
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(n_in, n_out, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False),
            norm=nn.BatchNorm2d(n_out),
            relu=nn.ReLU(),
        )
    )
