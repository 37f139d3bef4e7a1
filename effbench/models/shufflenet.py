"""ShuffleNet: grouped pointwise convolutions and a channel shuffle between them (Zhang et al., arXiv:1707.01083)."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

import torch
from torch import Tensor, nn

from effbench.models.arguments import require_flags, require_positive_integers, require_width

VERSION = 1  # bumped when equal options build another network

# Output channels of stage 2 by the number of groups: table 1. Stages 3 and 4 have twice and four times as many.
STAGE_2_CHANNELS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}
STEM_CHANNELS = 24
N_UNITS = (4, 8, 4)
"""Of stages 2, 3 and 4; the first of each has stride 2."""


def shufflenet_v1(
    *,
    groups: int = 3,
    scale: float = 1.0,
    shuffle: bool = True,
    shortcut: bool = True,
    alpha: float = 1.0,
    num_classes: int = 1000,
    in_channels: int = 3,
) -> nn.Sequential:
    """Build ShuffleNet of a width. Input (N, in_channels, H, W) of any side (the paper's: 224).

    The network reduces the side 32 times (rounding up), then averages over what is left. Bottlenecks have a quarter of
    a stage's channels; the first pointwise convolution of stage 2 is not grouped, as its input has few channels
    (section 3.3).

    Parameters
    ----------
    groups
        Of the pointwise convolutions: 1, 2, 3, 4 or 8, for each of which table 1 has its own widths.
    scale
        The paper's width multiplier s ("ShuffleNet s×"). Widths are rounded (half up) so that groups divide them: the
        stem's to a multiple of `groups`, stage 2's to one of 4 × `groups`. The paper's own widths need no rounding at
        1×; how it rounds at others it does not say.
    shuffle
        False: the channels are left where they are, the control of section 4.1.2 (table 3). No parameter moves.
    shortcut
        False: units of stride 1 don't add their input. Those of stride 2 keep the averaged input, which is a part of
        their output's channels, so that no parameter and no multiply-add moves.
    alpha
        Multiplies `scale`: the width multiplier as an axis.

    Raises
    ------
    ValueError
        For groups that table 1 does not have, one group without the shuffle that it never has, a width that is not
        finite and above 0, or a count under 1.

    Examples
    --------
    >>> shufflenet_v1(groups=3, num_classes=10).classifier.in_features
    960
    """
    require_width(alpha)
    require_width(scale, name="scale")
    require_positive_integers(num_classes=num_classes, in_channels=in_channels)
    if isinstance(groups, bool) or groups not in STAGE_2_CHANNELS:
        raise ValueError(f"groups must be one of {', '.join(map(str, STAGE_2_CHANNELS))}, got {groups!r}")
    require_flags(shuffle=shuffle, shortcut=shortcut)
    if groups == 1 and not shuffle:
        raise ValueError("shuffle=false does nothing with groups=1: one group is never shuffled; give more groups")
    width = rounded_width(scale * alpha * STEM_CHANNELS, multiple=groups)
    channels = rounded_width(scale * alpha * STAGE_2_CHANNELS[groups], multiple=4 * groups)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        stem=_convolution(in_channels, width, kernel=3, stride=2), pool=nn.MaxPool2d(3, stride=2, padding=1)
    )
    for stage, n_units in enumerate(N_UNITS, start=2):
        first_groups = 1 if stage == 2 else groups
        layers[f"stage{stage}"] = _stage(
            width,
            channels,
            n_units=n_units,
            groups=groups,
            first_groups=first_groups,
            shuffle=shuffle,
            shortcut=shortcut,
        )
        width, channels = channels, 2 * channels
    return nn.Sequential(
        OrderedDict(
            features=nn.Sequential(layers),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(width, num_classes),
        )
    )


def rounded_width(channels: float, /, *, multiple: int) -> int:
    """Return the nearest multiple (half up), at least one.

    >>> rounded_width(60.0, multiple=12), rounded_width(68.0, multiple=16), rounded_width(0.1, multiple=3)
    (60, 64, 3)
    """
    return multiple * max(1, int(channels / multiple + 0.5))


class Unit(nn.Module):
    """A ShuffleNet unit (figure 2 b; with stride 2, c): its input beside a bottleneck of grouped convolutions.

    Input (N, n_in, H, W). With stride 1 the two are added, and n_out = n_in; with stride 2 the input is averaged
    (3 × 3) and the two are concatenated: (N, n_out, ceil(H / 2), ceil(W / 2)). Without a shortcut one with stride 1 is
    the bottleneck alone.
    """

    def __init__(
        self, n_in: int, n_out: int, *, stride: int, groups: int, first_groups: int, shuffle: bool, shortcut: bool
    ) -> None:
        super().__init__()
        n_branch = n_out if stride == 1 else n_out - n_in
        n_inner = n_out // 4
        self.squeeze = _convolution(n_in, n_inner, kernel=1, stride=1, groups=first_groups)
        self.shuffle = nn.ChannelShuffle(groups) if shuffle and groups > 1 else nn.Identity()
        self.depthwise = _convolution(n_inner, n_inner, kernel=3, stride=stride, groups=n_inner, rectify=False)
        self.expand = _convolution(n_inner, n_branch, kernel=1, stride=1, groups=groups, rectify=False)
        self.shortcut = nn.Identity() if stride == 1 else nn.AvgPool2d(3, stride=2, padding=1)
        self.joins = "concatenation" if stride > 1 else "sum" if shortcut else "nothing"
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        """Return the rectified sum, or concatenation, of the shortcut and the bottleneck."""
        inner = self.expand(self.depthwise(self.shuffle(self.squeeze(images))))
        match self.joins:
            case "sum":
                joined = self.shortcut(images) + inner
            case "concatenation":
                joined = torch.cat([self.shortcut(images), inner], dim=1)
            case _:
                joined = inner
        rectified: Tensor = self.relu(joined)
        return rectified


def _stage(
    n_in: int, n_out: int, *, n_units: int, groups: int, first_groups: int, shuffle: bool, shortcut: bool
) -> nn.Sequential:
    """Build a unit that halves the side and those that keep it. first_groups: of the very first convolution."""
    unit = partial(Unit, groups=groups, shuffle=shuffle, shortcut=shortcut)
    first = unit(n_in, n_out, stride=2, first_groups=first_groups)
    units: OrderedDict[str, nn.Module] = OrderedDict(unit1=first)
    for number in range(2, n_units + 1):
        units[f"unit{number}"] = unit(n_out, n_out, stride=1, first_groups=groups)
    return nn.Sequential(units)


def _convolution(
    n_in: int, n_out: int, *, kernel: int, stride: int, groups: int = 1, rectify: bool = True
) -> nn.Sequential:
    """Build convolution (same padding, no bias), batch norm and, where it is rectified, ReLU."""
    layers = OrderedDict[str, nn.Module](
        conv=nn.Conv2d(n_in, n_out, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False),
        norm=nn.BatchNorm2d(n_out),
    )
    if rectify:
        layers["relu"] = nn.ReLU()
    return nn.Sequential(layers)
