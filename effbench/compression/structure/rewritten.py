"""A convolution as a chain of cheaper ones: depthwise and pointwise, or in groups whose channels are shuffled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from effbench.compression.structure.factorized import convolution_options, make_unset

N_WIDTHS = 5
"""A chain's widths: channels in and out, groups, and its norm's epsilon and momentum (`Norm`); what it has not is 0."""
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class Rewritten(nn.Sequential):
    """The layers that stand for a k × k convolution; unlike those of a low-rank chain, they can be edited themselves.

    Without groups a depthwise and a pointwise convolution (Howard et al. 2017, arXiv:1704.04861, section 3.1), maybe
    with a batch norm between them: `depthwise`, `norm`, `pointwise`. With groups a convolution of so many and a shuffle
    of its outputs (Zhang et al. 2017, arXiv:1707.01083, section 3.1): `grouped`, `shuffle`. The bias is the last
    convolution's.
    """

    widths: tuple[int, ...]
    """As it was made: see `N_WIDTHS`."""

    @property
    def last(self) -> nn.Module:
        """The convolution that has the chain's bias."""
        return self.get_submodule("grouped" if self.widths[2] else "pointwise")


@dataclass(frozen=True)
class Norm:
    """A batch norm as whole numbers, so that a file can hold it: ε in billionths, the momentum in millionths."""

    epsilon: int
    momentum: int

    @classmethod
    def like(cls, norm: nn.Module, /) -> Norm:
        """Return the settings of a batch norm; one whose momentum moves nothing, or is none, has torch's 0.1."""
        assert isinstance(norm, _BatchNorm)
        eps, momentum = norm.eps, norm.momentum or 0.1
        return cls(min(max(1, round(eps * 10**9)), 10**9), min(max(1, round(momentum * 10**6)), 10**6))

    @property
    def is_valid(self) -> bool:
        """Whether a batch norm can have these settings."""
        return 1 <= self.epsilon <= 10**9 and 1 <= self.momentum <= 10**6


def separable_widths(layer: nn.Module, norm: Norm | None = None, /) -> tuple[int, ...]:
    """Return the widths of the depthwise-separable chain that stands for a convolution."""
    n_out, n_in = _channels(layer)
    return (n_in, n_out, 0, *((norm.epsilon, norm.momentum) if norm is not None else (0, 0)))


def shuffled_widths(layer: nn.Module, groups: int, /) -> tuple[int, ...]:
    """Return the widths of the chain of a grouped convolution and a shuffle that stands for a convolution."""
    n_out, n_in = _channels(layer)
    return (n_in, n_out, groups, 0, 0)


def can_rewrite(layer: nn.Module, /) -> bool:
    """Whether a layer is a convolution of more than one place and of one group, as torch runs it."""
    kind = next((kind for kind in _CONVOLUTIONS if isinstance(layer, kind)), None)
    if kind is None:
        return False
    own = parametrize.type_before_parametrizations(layer)
    return (
        all(getattr(own, name) is getattr(kind, name) for name in ("forward", "_conv_forward"))
        and bool(layer.groups == 1)
        and prod(_kernel(layer)) > 1
        and not [name for name in layer._modules if name != "parametrizations"]
        and {*layer._parameters, *layer._buffers} <= {"weight", "bias"}
    )


def check_rewriting(layer: nn.Module, widths: Sequence[int], /) -> None:
    """Refuse what is no chain of this layer, or would be larger than it: ValueError, before anything is made."""
    if not can_rewrite(layer) or len(widths) != N_WIDTHS:
        raise ValueError(f"a {type(layer).__name__} can't be rewritten with widths {tuple(widths)}")
    n_in, n_out, groups, epsilon, momentum = widths
    divides = groups > 1 and not n_in % groups and not n_out % groups
    is_normed = Norm(epsilon, momentum).is_valid and not groups
    if min(n_in, n_out) < 1 or (groups and not divides) or not (is_normed or epsilon == momentum == 0):
        raise ValueError(f"widths {tuple(widths)} do not fit a rewritten {type(layer).__name__}")
    most_out, most_in = _channels(layer)
    if n_in > most_in or n_out > most_out or n_entries(layer, widths) > most_in * most_out * prod(_kernel(layer)):
        raise ValueError(
            f"a rewritten {type(layer).__name__} of widths {tuple(widths)} is larger than it was ({most_in} to "
            f"{most_out}); edits only remove"
        )


def n_entries(layer: nn.Module, widths: Sequence[int], /) -> int:
    """Return how many entries the tensors of a layer's chain have, but for the bias that the layer has, too."""
    n_in, n_out, groups, epsilon, _ = widths
    if groups:
        return n_in * n_out * prod(_kernel(layer)) // groups
    return n_in * (prod(_kernel(layer)) + n_out) + (4 * n_in + 1 if epsilon else 0)


def build_rewritten(layer: nn.Module, widths: Sequence[int], /) -> Rewritten:
    """Return the chain that stands for `layer`, its weights zero, of the layer's type and on its device.

    The random generator is left alone. ValueError for widths that `check_rewriting` refuses.
    """
    check_rewriting(layer, widths)
    assert isinstance(layer, _CONVOLUTIONS)
    dimensions = len(layer.kernel_size) - 1
    n_in, n_out, groups, epsilon, momentum = widths
    weight = layer.weight
    place: dict[str, Any] = {"device": weight.device, "dtype": weight.dtype}
    whole, point = convolution_options(layer)
    kind, bias = _CONVOLUTIONS[dimensions], layer.bias is not None
    chain = Rewritten()
    if groups:
        chain.add_module("grouped", make_unset(kind, n_in, n_out, groups=groups, bias=bias, **whole, **place))
        chain.add_module("shuffle", nn.ChannelShuffle(groups))
    else:
        chain.add_module("depthwise", make_unset(kind, n_in, n_in, groups=n_in, bias=False, **whole, **place))
        if epsilon:
            norm = _NORMS[dimensions](n_in, eps=epsilon / 10**9, momentum=momentum / 10**6, **place)
            chain.add_module("norm", norm)
        chain.add_module("pointwise", make_unset(kind, n_in, n_out, bias=bias, **point, **place))
    chain.widths = tuple(widths)
    with torch.no_grad():
        for module in chain:
            for parameter in module.parameters() if isinstance(module, _CONVOLUTIONS) else ():
                parameter.zero_()
    for parameter in chain.parameters():
        parameter.requires_grad_(weight.requires_grad)
    return chain.train(layer.training)


def _channels(layer: nn.Module) -> tuple[int, int]:
    """Return a convolution's channels: out, in."""
    n_in, n_out = layer.in_channels, layer.out_channels
    assert isinstance(n_in, int) and isinstance(n_out, int)
    return n_out, n_in


def _kernel(layer: nn.Module) -> tuple[int, ...]:
    kernel = layer.kernel_size
    assert isinstance(kernel, tuple)
    return kernel
