"""A layer as a chain of smaller ones that computes nearly the same: the forms that low rank gives a layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

Factorization = Literal["svd", "spatial", "tucker"]


class Factored(nn.Sequential):
    """The layers that stand for one. The bias is the last one's.

    factorization
        `svd`: a linear layer or a 1×1 convolution as two, in → r → out. `spatial`: a kh×kw convolution as kh×1 and 1×kw
        (Jaderberg et al. 2014, arXiv:1405.3866, section 2). `tucker`: 1×1, kh×kw and 1×1 convolutions, in → r1 → r2 →
        out (Kim et al. 2015, arXiv:1511.06530, section 3).
    """

    factorization: Factorization

    @property
    def widths(self) -> tuple[int, ...]:
        """The channels (or features) that go in, between the layers, and out."""
        layers = [layer for layer in self if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear)]
        return (_n_in(layers[0]), *(_n_out(layer) for layer in layers))


def n_ranks(factorization: Factorization, /) -> int:
    """Return how many widths a factorization has between its layers."""
    return 2 if factorization == "tucker" else 1


def can_factor(layer: nn.Module, factorization: Factorization, /) -> bool:
    """Whether a factorization is for a layer of this kind. Grouped (and so depthwise) convolutions have none."""
    if isinstance(layer, nn.Linear):
        return factorization == "svd"
    if not isinstance(layer, nn.Conv1d | nn.Conv2d) or layer.groups != 1:
        return False
    pointwise = math.prod(layer.kernel_size) == 1
    return {"svd": pointwise, "spatial": isinstance(layer, nn.Conv2d) and not pointwise, "tucker": not pointwise}[
        factorization
    ]


def factor_shapes(
    layer: nn.Module, factorization: Factorization, widths: Sequence[int], /
) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of the weights that a layer's factors would have; nothing is allocated."""
    if isinstance(layer, nn.Linear):
        return tuple((n_out, n_in) for n_in, n_out in pairwise(widths))
    assert isinstance(layer, nn.Conv1d | nn.Conv2d)
    kernels = [options["kernel_size"] for options in _convolutions(layer, factorization)]
    return tuple((n_out, n_in, *kernel) for (n_in, n_out), kernel in zip(pairwise(widths), kernels, strict=True))


def build_factored(layer: nn.Module, factorization: Factorization, widths: Sequence[int], /) -> Factored:
    """Return the chain that stands for `layer`, its weights zero, of the layer's type and on its device.

    widths: (in, ranks …, out). The random generator is left alone. The layer must be one that `can_factor` allows.
    """
    assert can_factor(layer, factorization) and len(widths) == n_ranks(factorization) + 2
    weight, layers = layer.weight, list[nn.Module]()
    assert isinstance(weight, Tensor)
    place: dict[str, Any] = {"device": weight.device, "dtype": weight.dtype}
    for position, (n_in, n_out) in enumerate(pairwise(widths)):
        bias = layer.bias is not None and position == len(widths) - 2
        if isinstance(layer, nn.Linear):
            layers.append(make_unset(nn.Linear, n_in, n_out, bias=bias, **place))
        else:
            assert isinstance(layer, nn.Conv1d | nn.Conv2d)
            kind = nn.Conv1d if isinstance(layer, nn.Conv1d) else nn.Conv2d
            options = _convolutions(layer, factorization)[position]
            layers.append(make_unset(kind, n_in, n_out, bias=bias, **options, **place))
    chain = Factored(*layers).train(layer.training)
    chain.factorization = factorization
    with torch.no_grad():
        for parameter in chain.parameters():
            parameter.zero_()
            parameter.requires_grad_(weight.requires_grad)
    return chain


def convolution_options(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, /) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return kernel, stride, padding and dilation of a convolution and, likewise, of a pointwise one."""
    n = len(layer.kernel_size)
    ones, zeros = (1,) * n, (0,) * n
    padding = layer.padding
    whole: dict[str, Any] = {
        "kernel_size": tuple(layer.kernel_size),
        "stride": tuple(layer.stride),
        "padding": padding if isinstance(padding, str) else tuple(padding),
        "dilation": tuple(layer.dilation),
        "padding_mode": layer.padding_mode,
    }
    return whole, {"kernel_size": ones, "stride": ones, "padding": zeros, "dilation": ones}


def _convolutions(layer: nn.Conv1d | nn.Conv2d, factorization: Factorization) -> list[dict[str, Any]]:
    """Return kernel, stride, padding and dilation of each convolution of a chain."""
    whole, point = convolution_options(layer)
    if factorization == "svd":
        return [whole, point]
    if factorization == "tucker":
        return [point, whole, point]
    first, second = dict(whole), dict(whole)
    for name, neutral in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
        if not isinstance(whole[name], str):
            first[name], second[name] = (whole[name][0], neutral), (neutral, whole[name][1])
    return [first, second]


def make_unset(kind: type[nn.Module], n_in: int, n_out: int, /, **options: Any) -> nn.Module:
    """Return a layer whose values are not set: setting them would draw random numbers."""
    layer = nn.utils.skip_init(kind, n_in, n_out, **options)  # type: ignore[no-untyped-call]
    assert isinstance(layer, nn.Module)
    return layer


def _n_in(layer: nn.Conv1d | nn.Conv2d | nn.Linear) -> int:
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels


def _n_out(layer: nn.Conv1d | nn.Conv2d | nn.Linear) -> int:
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
