"""The layers whose weights techniques act on, convolutions and linear layers, and what these need to know of them."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

WEIGHT_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)


def weight_layers(model: nn.Module, /) -> Iterator[tuple[str, nn.Module]]:
    """Yield the convolution and linear layers with their names, in the order of the modules; a shared one once.

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Linear(2, 2))
    >>> [name for name, _ in weight_layers(model)]
    ['0', '2']
    """
    for name, module in model.named_modules():
        if isinstance(module, WEIGHT_LAYERS):
            yield name, module


def weight_of(layer: nn.Module, /) -> Tensor:
    """Return a layer's weight as it is in use, after its constraints, detached and where the layer is.

    Of a layer without constraints it has the parameter's own memory: what is written to it is written to the layer.
    """
    weight = layer.weight
    assert isinstance(weight, Tensor), layer
    return weight.detach()


def is_depthwise(layer: nn.Module, /) -> bool:
    """Whether a layer is a convolution that makes each of its channels from the same one of its input."""
    return isinstance(layer, _ConvNd) and 1 < layer.groups == layer.in_channels == layer.out_channels


def n_groups(layer: nn.Module, /) -> int:
    """Return into how many equal parts a convolution divides its channels; 1 for a depthwise one, which mixes none."""
    return layer.groups if isinstance(layer, _ConvNd) and not is_depthwise(layer) else 1
