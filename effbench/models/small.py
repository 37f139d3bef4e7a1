"""A small convolutional network: every axis that a network can read is a parameter of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from torch import nn

from effbench.models.arguments import require_positive_integers, require_width, scaled_width
from effbench.models.downsampling import pooling_layers, sides_of
from effbench.models.haar import split_input, splitting
from effbench.models.octave import octave_features, require_share
from effbench.models.small_heads import HIDDEN, check_head, head_layers
from effbench.models.small_layers import GROUPS, Layers, features, kernel_sizes

VERSION = 1  # bumped when equal options build another network


def small_cnn(
    *,
    alpha: float = 1.0,
    kernel: int | str = 3,
    conv: str = "standard",
    groups: int = GROUPS,
    shuffle: bool = False,
    shortcut: bool = False,
    octave: float = 0.0,
    bands: str = "none",
    pooling: str | int | Iterable[int] = "even",
    head: str = "gap",
    hidden: int | str | Iterable[int] = HIDDEN,
    num_classes: int = 10,
    in_channels: int = 1,
    input_side: int = 28,
    channels: Iterable[int] = (8, 16, 16, 32, 32, 64),
    n_poolings: int = 2,
) -> nn.Sequential:
    """Build a stack of convolutions with poolings between them. Input (N, in_channels, input_side, input_side).

    Each layer is convolution (same padding, no bias), batch norm, ReLU; in some a max-pooling of 2, which halves the
    side (rounding down), stands before the ReLU. With the "gap" head the placement of the poolings changes no
    parameter: only the multiply-adds move.

    Parameters
    ----------
    alpha
        Width multiplier of `channels`: max(1, floor(alpha × c + ½)).
    kernel
        Side of every convolution, odd, or two kernels for each: "3x1" is 3 × 1, then 1 × 3 (arXiv:1512.00567).
    conv
        All convolutions but the first: "standard"; "separable", depthwise and pointwise (arXiv:1704.04861); "grouped";
        "shuffle", grouped with a channel shuffle between them (arXiv:1707.01083).
    groups
        Of grouped convolutions; where they don't divide a layer's channels, the most groups below that do.
    shuffle
        True: "grouped" is "shuffle".
    shortcut
        True: layers with as many output as input channels, but for the first, add their input before pooling and ReLU
        (arXiv:1512.03385). Others have no shortcut, so that no parameter and no multiply-add comes with them.
    octave
        Share of the channels at half the side, 0 to 1 (arXiv:1904.05049); for whole convolutions with square kernels.
    bands
        What the network takes in, at half the side: "both", all bands of the input's Haar transform (four times its
        channels), "low", the average of each 2 × 2 pixels alone; "none": the input. Odd sides are rounded up.
    pooling
        After which layers the poolings stand: "early" (after the first layers), "even", "late" (after the last ones),
        or the layers' numbers, counted from 1: "1-3" (the form for a command line: `+pooling=1-3,2-4,late`), a list
        [1, 3], or one number. Numbers given explicitly decide themselves how many poolings there are.
    head
        "gap": global average pooling and a linear layer, for any input side. "conv": a 1 × 1 convolution and global
        average pooling (arXiv:1312.4400), for any. "linear": hidden fully connected layers over the flattened map, for
        `input_side` alone; "flatten": the same without a hidden layer.
    hidden
        Width of the "linear" head's hidden layer, or of several: "300-100", [300, 100].
    channels
        Output channels of the layers at alpha = 1.
    n_poolings
        How many poolings "early", "even" and "late" place.

    Raises
    ------
    ValueError
        Where an argument is out of range or does nothing beside the others, and where a pooling would leave nothing of
        the map.

    Examples
    --------
    >>> import torch
    >>> small_cnn(alpha=0.5, pooling="late")(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    channels = tuple(channels)
    require_width(alpha)
    require_positive_integers(num_classes=num_classes, in_channels=in_channels, input_side=input_side)
    if not channels:
        raise ValueError("channels must have at least one layer, got none")
    for width in channels:
        require_positive_integers(channels=width)
    form = Layers(kernel=kernel, conv=conv, groups=groups, shuffle=shuffle, shortcut=shortcut)
    check_head(head, hidden)
    n_taken, side = split_input(bands, in_channels, input_side)
    poolings = pooling_layers(pooling, n_layers=len(channels), n_poolings=n_poolings)
    sides = sides_of(poolings, side, n_layers=len(channels))
    widths = [n_taken, *(scaled_width(width, alpha) for width in channels)]
    return nn.Sequential(
        OrderedDict(
            **splitting(bands),
            features=_features(widths, form=form, octave=octave, poolings=poolings, sides=sides),
            **head_layers(head, n_in=widths[-1], side=sides[-1], hidden=hidden, num_classes=num_classes),
        )
    )


def _features(
    widths: list[int], *, form: Layers, octave: float, poolings: tuple[int, ...], sides: list[int]
) -> nn.Module:
    """Build the layers, plain or octave's. ValueError for octave convolutions of another form."""
    require_share(octave)
    if octave == 0:
        return features(widths, form=form, poolings=poolings)
    if not form.is_plain:
        raise ValueError(
            f"octave={octave} can't be combined with conv={form.conv} kernel={form.kernel}: octave convolutions are "
            "whole ones with square kernels; give conv=standard and a kernel such as 3"
        )
    ((kernel, _),) = kernel_sizes(form.kernel)
    return octave_features(widths, share=octave, kernel=kernel, poolings=poolings, sides=sides, shortcut=form.shortcut)
