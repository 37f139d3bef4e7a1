"""A small encoder-decoder: a class for each pixel, predicted at a resolution that is an axis."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from itertools import pairwise
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effbench.models.arguments import require_positive_integers, require_width, scaled_width
from effbench.models.downsampling import pooling_layers, sides_of

VERSION = 1  # bumped when equal options build another network

Upsampling = Literal["nearest", "bilinear"]


def small_segmenter(
    *,
    alpha: float = 1.0,
    pooling: str | int | Iterable[int] = "even",
    out_rho: float = 1.0,
    upsample: str = "bilinear",
    num_classes: int = 11,
    in_channels: int = 1,
    input_side: int = 64,
    channels: Iterable[int] = (8, 8, 16, 16, 32, 32, 64),
    n_poolings: int = 3,
) -> nn.Module:
    """Build a U-Net (Ronneberger et al. 2015, arXiv:1505.04597) of few channels, with batch norm.

    Input (N, in_channels, input_side, input_side), output logits (N, num_classes, input_side, input_side). The encoder
    is a stack of 3 x 3 convolutions with max-poolings of 2 between them, as `small_cnn`'s. The decoder takes the
    poolings back, the last one first: the map, made as large as the one before the pooling (nearest), is joined to that
    one, and a 3 x 3 convolution brings both to its channels. The last such convolution gives the classes.

    Parameters
    ----------
    alpha
        Width multiplier of `channels`: max(1, floor(alpha × c + ½)).
    pooling
        After which of the encoder's layers the poolings stand, as for `small_cnn`.
    out_rho
        Resolution multiplier of the output: classes are predicted at the side floor(out_rho × input_side + ½). Maps of
        that side or, where there are none, larger ones made as small (bilinear) are the last that the decoder joins;
        what would come after is not there.
    upsample
        How the logits are brought to input_side: "nearest" or "bilinear".
    channels
        Output channels of the encoder's layers at alpha = 1.
    n_poolings
        How many poolings "early", "even" and "late" place, at least 1.

    Raises
    ------
    ValueError
        Where an argument is out of range, where a pooling would leave nothing of the map, and where `out_rho` would
        leave no side to predict at.

    Examples
    --------
    >>> import torch
    >>> small_segmenter(num_classes=3, input_side=32, out_rho=0.5)(torch.zeros(1, 1, 32, 32)).shape
    torch.Size([1, 3, 32, 32])
    """
    channels = tuple(channels)
    require_width(alpha)
    require_positive_integers(num_classes=num_classes, in_channels=in_channels, input_side=input_side)
    if not channels:
        raise ValueError("channels must have at least one layer, got none")
    for width in channels:
        require_positive_integers(channels=width)
    if upsample not in get_args(Upsampling):
        raise ValueError(f"upsample must be {' or '.join(get_args(Upsampling))}, got {upsample!r}")
    require_positive_integers(n_poolings=n_poolings)
    poolings = pooling_layers(pooling, n_layers=len(channels), n_poolings=n_poolings)
    sides_of(poolings, input_side, n_layers=len(channels))
    return Segmenter(
        widths=[in_channels, *(scaled_width(width, alpha) for width in channels)],
        poolings=poolings,
        num_classes=num_classes,
        input_side=input_side,
        output_side=_output_side(out_rho, input_side),
        upsample=upsample,
    )


def _output_side(out_rho: float, input_side: int) -> int:
    """Return the side at which classes are predicted. ValueError outside (0, 1], and where none is left."""
    is_number = isinstance(out_rho, int | float) and not isinstance(out_rho, bool)
    if not is_number or not 0 < out_rho <= 1:
        raise ValueError(f"out_rho must be above 0 and at most 1 (1 predicts at the input's side), got {out_rho!r}")
    side = math.floor(out_rho * input_side + 0.5)
    if side < 1:
        raise ValueError(
            f"out_rho={out_rho} of input_side {input_side} leaves no pixel; give at least {1 / input_side:.3g}"
        )
    return side


class Segmenter(nn.Module):
    """An encoder of several levels, each at half the side of the one before, and a decoder that comes back up.

    Input (N, widths[0], side, side), output (N, num_classes, input_side, input_side) at side = input_side. Images of
    another side give maps of another side, unless these are brought to input_side (output_side < input_side).
    """

    def __init__(
        self,
        *,
        widths: list[int],
        poolings: tuple[int, ...],
        num_classes: int,
        input_side: int,
        output_side: int,
        upsample: str,
    ) -> None:
        super().__init__()
        ends = [0, *poolings, len(widths) - 1]
        *finer, coarsest = (_level(widths, first, last) for first, last in pairwise(ends))
        self.encoder = nn.ModuleList(finer)
        self.pool = nn.MaxPool2d(2)
        levels, joins, width = [coarsest], [], widths[-1]
        for number, layer in reversed(list(enumerate(poolings))):
            side, joined = input_side // 2**number, width + widths[layer]
            joins.append(Join(side=None if side <= output_side else output_side))
            if side >= output_side:
                break
            width = widths[layer]
            levels.append(nn.Sequential(_convolution(joined, width)))
        self.decoder = nn.ModuleList(levels)
        self.joins = nn.ModuleList(joins)
        self.classifier = nn.Conv2d(joined, num_classes, 3, padding=1)
        self.enlarge = nn.Identity() if output_side == input_side else _resizing(input_side, upsample)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of each pixel's classes."""
        maps, finer = images, []
        for level in self.encoder:
            maps = level(maps)
            finer.append(maps)
            maps = self.pool(maps)
        for level, join in zip(self.decoder, self.joins, strict=True):
            maps = join(level(maps), finer.pop())
        logits: Tensor = self.enlarge(self.classifier(maps))
        return logits


class Join(nn.Module):
    """Joins a map to a finer one: (N, C, h, w) and (N, D, H, W) to (N, C + D, H, W), or to `side` x `side`."""

    def __init__(self, *, side: int | None) -> None:
        super().__init__()
        self.shrink = nn.Identity() if side is None else _resizing(side, "bilinear")

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Return both, one channel after the other."""
        fine = self.shrink(fine)
        return torch.cat([F.interpolate(coarse, size=fine.shape[-2:], mode="nearest"), fine], dim=1)


def _level(widths: list[int], first: int, last: int) -> nn.Sequential:
    """Build the encoder's layers after number `first` up to number `last`, counted from 1; there may be none."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number in range(first + 1, last + 1):
        layers.update(_convolution(widths[number - 1], widths[number], suffix=str(number)))
    return nn.Sequential(layers)


def _convolution(n_in: int, n_out: int, *, suffix: str = "") -> OrderedDict[str, nn.Module]:
    """Build convolution (same padding, no bias), batch norm, ReLU, by their names."""
    return OrderedDict(
        {
            f"conv{suffix}": nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
            f"norm{suffix}": nn.BatchNorm2d(n_out),
            f"relu{suffix}": nn.ReLU(inplace=True),
        }
    )


def _resizing(side: int, mode: str) -> nn.Upsample:
    return nn.Upsample(size=(side, side), mode=mode, align_corners=False if mode == "bilinear" else None)
