"""MobileNetV1: depthwise separable convolutions and the width multiplier (Howard et al. 2017, arXiv:1704.04861)."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from effbench.models.arguments import require_positive_integers, require_width, scaled_width
from effbench.models.pooling import GlobalAveragePool

VERSION = 1  # bumped when equal options build another network

# Output channels and stride of the depthwise separable blocks: table 1. Its last depthwise layer is printed with
# stride 2, which its own sizes (7 × 7 before and after) and the published multiply-adds contradict: it is 1.
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))


def mobilenet_v1(*, alpha: float = 1.0, num_classes: int = 1000, in_channels: int = 3) -> nn.Sequential:
    """Build MobileNetV1 of width `alpha`. Input (N, in_channels, H, W) of any side (the paper's: 224).

    Every convolution is followed by batch norm and ReLU; the network reduces the side 32 times (rounding up), then
    averages over what is left. ValueError for an `alpha` that is not finite and above 0, or a count under 1.

    >>> sum(parameter.numel() for parameter in mobilenet_v1(alpha=0.5).parameters())
    1331592
    """
    require_width(alpha)
    require_positive_integers(num_classes=num_classes, in_channels=in_channels)
    width = scaled_width(32, alpha)
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=_convolution(in_channels, width, kernel=3, stride=2))
    for number, (channels, stride) in enumerate(BLOCKS, start=1):
        layers[f"block{number}"] = _separable(width, scaled_width(channels, alpha), stride=stride)
        width = scaled_width(channels, alpha)
    return nn.Sequential(
        OrderedDict(
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
