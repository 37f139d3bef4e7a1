"""Channel shuffles: replaced while a network is followed, then put back between its layers."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from effbench.compression.layers import n_groups
from effbench.compression.structure.shuffle import Shuffle
from effbench.compression.structure.touched import Touched


@contextmanager
def shuffles_replaced(network: nn.Module, through: Callable[[Tensor, int | None], Tensor], /) -> Iterator[None]:
    """While entered, channel shuffles return `through(images, groups)`; groups is None where a shuffle tells none.

    Known are functions `channel_shuffle` of torch or of the module that defines a network, and modules called
    …ChannelShuffle.
    """

    def replacing(known: int | None) -> Callable[..., Tensor]:
        def replaced(images: Tensor, *given: int, **named: int) -> Tensor:
            return through(images, known or named.get("groups") or next(iter(given), None))

        return replaced

    sources = {sys.modules[type(module).__module__] for module in network.modules()}
    owners = [owner for owner in (torch, nn.functional, *sources) if hasattr(owner, "channel_shuffle")]
    functions = [(owner, owner.channel_shuffle) for owner in owners]
    modules = [module for module in network.modules() if type(module).__name__.endswith("ChannelShuffle")]
    try:
        for owner, _function in functions:
            owner.channel_shuffle = replacing(None)  # type: ignore[attr-defined]
        for module in modules:
            module.forward = replacing(getattr(module, "groups", None))
        yield
    finally:
        for owner, function in functions:
            owner.channel_shuffle = function  # type: ignore[attr-defined]
        for module in modules:
            del module.forward


def find_shuffle(n: int, groups: int | None, before: Sequence[Touched], after: Sequence[Touched], /) -> Shuffle | None:
    """Return how n channels go through a shuffle of so many groups; None where that can't be followed.

    Followed are convolutions and batch norms before and after one shuffle, where all have the same channels and the
    first convolutions make and the last ones read them. before, after: the layers on both sides, with places by the
    number of the place before, or after, the shuffle.
    """
    if groups is None or n % groups:
        return None
    for touched, role in (*((one, "makes") for one in before), *((one, "reads") for one in after)):
        layer = touched.layer
        if not isinstance(layer, _ConvNd | _BatchNorm) or getattr(layer, "transposed", False):
            return None
        if touched.role not in (role, "passes") or not touched.is_whole(n):
            return None
    shuffle = Shuffle(
        n=n,
        groups=groups,
        before=math.lcm(*(n_groups(touched.layer) for touched in before)),
        after=math.lcm(*(n_groups(touched.layer) for touched in after)),
    )
    return None if n % shuffle.step else shuffle
