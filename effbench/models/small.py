"""A small convolutional network: every axis that a network can read is a parameter of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from itertools import pairwise
from typing import Literal, get_args

from torch import nn

from effbench.models.arguments import require_positive_integers, require_width, scaled_width
from effbench.models.pooling import GlobalAveragePool

VERSION = 1  # bumped when equal options build another network

Placement = Literal["early", "even", "late"]
Head = Literal["gap", "flatten"]


def small_cnn(
    *,
    alpha: float = 1.0,
    kernel: int = 3,
    pooling: str | int | Iterable[int] = "even",
    head: str = "gap",
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
        Side of every convolution, odd.
    pooling
        After which layers the poolings stand: "early" (after the first layers), "even", "late" (after the last ones),
        or the layers' numbers, counted from 1: "1-3" (the form for a command line: `+pooling=1-3,2-4,late`), a list
        [1, 3], or one number. Numbers given explicitly decide themselves how many poolings there are.
    head
        "gap": global average pooling and a linear layer, for any input side. "flatten": a linear layer over the
        flattened map, for `input_side` alone.
    channels
        Output channels of the layers at alpha = 1.
    n_poolings
        How many poolings "early", "even" and "late" place.

    Raises
    ------
    ValueError
        Where an argument is out of range, and where a pooling would leave nothing of the map.

    Examples
    --------
    >>> import torch
    >>> small_cnn(alpha=0.5, pooling="late")(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    channels = tuple(channels)
    require_width(alpha)
    require_positive_integers(kernel=kernel, num_classes=num_classes, in_channels=in_channels, input_side=input_side)
    if not channels:
        raise ValueError("channels must have at least one layer, got none")
    for width in channels:
        require_positive_integers(channels=width)
    if kernel % 2 == 0:
        raise ValueError(f"kernel must be odd (same padding keeps the side), got {kernel}")
    if head not in get_args(Head):
        raise ValueError(f"head must be one of {', '.join(get_args(Head))}, got {head!r}")
    poolings = pooling_layers(pooling, n_layers=len(channels), n_poolings=n_poolings)
    final_side = side_after(poolings, input_side)
    widths = [scaled_width(width, alpha) for width in channels]
    classifier_inputs = widths[-1] if head == "gap" else widths[-1] * final_side**2
    return nn.Sequential(
        OrderedDict(
            features=_features([in_channels, *widths], kernel=kernel, poolings=poolings),
            pool=GlobalAveragePool() if head == "gap" else nn.Identity(),
            flatten=nn.Flatten(),
            classifier=nn.Linear(classifier_inputs, num_classes),
        )
    )


def pooling_layers(pooling: str | int | Iterable[int], /, *, n_layers: int, n_poolings: int) -> tuple[int, ...]:
    """Return the numbers (from 1) of the layers after which a pooling stands, ascending.

    >>> [pooling_layers(where, n_layers=6, n_poolings=2) for where in ("early", "even", "late", "1-3")]
    [(1, 2), (2, 4), (5, 6), (1, 3)]
    """
    if pooling not in get_args(Placement):
        return _explicit_layers(pooling, n_layers=n_layers)
    if isinstance(n_poolings, bool) or not isinstance(n_poolings, int) or not 0 <= n_poolings <= n_layers:
        raise ValueError(f"n_poolings must be an integer from 0 to {n_layers} (the layers), got {n_poolings!r}")
    numbers = range(1, n_poolings + 1)
    match pooling:
        case "early":
            return tuple(numbers)
        case "late":
            return tuple(n_layers - n_poolings + number for number in numbers)
        case _:
            # ceil(number × n_layers / (n_poolings + 1)) in integers: distinct even when every layer is pooled.
            return tuple(-(-number * n_layers // (n_poolings + 1)) for number in numbers)


def _explicit_layers(pooling: str | int | Iterable[int], *, n_layers: int) -> tuple[int, ...]:
    """Read layer numbers from "1-3", 3 or [1, 3]. ValueError if they are not ascending numbers of layers."""
    if isinstance(pooling, str):
        numbers = tuple(int(part) if part.isdecimal() else 0 for part in pooling.split("-"))
    else:
        numbers = (pooling,) if isinstance(pooling, int) else tuple(pooling)
    ascending = all(layer < following for layer, following in pairwise(numbers))
    are_whole = all(isinstance(number, int) for number in numbers)
    if not numbers or not are_whole or not ascending or numbers[0] < 1 or numbers[-1] > n_layers:
        raise ValueError(
            f"pooling must be {', '.join(get_args(Placement))} or ascending layer numbers from 1 to {n_layers}, "
            f"as in 1-3; got {pooling!r}"
        )
    return numbers


def side_after(poolings: tuple[int, ...], input_side: int) -> int:
    """Return the side of the last map. ValueError if a pooling has nothing to pool."""
    side = input_side
    for layer in poolings:
        if side < 2:
            raise ValueError(
                f"the pooling after layer {layer} would leave nothing: at input_side {input_side} the map there has "
                f"side {side}; give a larger input or fewer poolings"
            )
        side //= 2
    return side


def _features(widths: list[int], *, kernel: int, poolings: tuple[int, ...]) -> nn.Sequential:
    """Build the convolutional layers and the poolings among them, numbered from 1."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (n_in, n_out) in enumerate(pairwise(widths), start=1):
        layers[f"conv{number}"] = nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2, bias=False)
        layers[f"norm{number}"] = nn.BatchNorm2d(n_out)
        if number in poolings:
            layers[f"pool{number}"] = nn.MaxPool2d(2)
        # After the pooling: the largest of the rectified is the rectified largest, on a quarter of the values.
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
    return nn.Sequential(layers)
