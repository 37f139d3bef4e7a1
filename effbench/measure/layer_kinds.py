"""Which group a layer belongs to, and how its kind is called: "3×3 depthwise", "linear", "BatchNorm2d"."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import parametrize

from effbench.compression.layers import is_depthwise, parameter_names

CONVOLUTION, FULLY_CONNECTED, ATTENTION = "convolution", "fully connected", "attention"
RECURRENT, NORM, EMBEDDING, OTHER = "recurrent", "norm", "embedding", "other"
GROUPS = (CONVOLUTION, FULLY_CONNECTED, ATTENTION, RECURRENT, NORM, EMBEDDING, OTHER)
"""In the order in which summaries have them."""
_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)
_TABLES = ("embed", "token", "position")
"""Parts of the names of parameters that are added to what flows, as positions are, or put before it."""


def group_of(module: nn.Module, operation: str | None, /, *, attends: bool) -> str:
    """Return the group of a layer.

    operation: how the first operation with a weight of its own is called in torch, None where there is none. attends:
    whether attention's products run in it, or it projects for them; a convolution stays one.

    >>> group_of(nn.Conv2d(3, 8, 3), "convolution", attends=False), group_of(nn.LayerNorm(8), None, attends=False)
    ('convolution', 'norm')
    """
    if isinstance(module, _ConvNd) or (operation or "").startswith("convolution"):
        return CONVOLUTION
    if attends or isinstance(module, nn.MultiheadAttention):
        return ATTENTION
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        return RECURRENT
    if operation is not None or isinstance(module, nn.Linear | nn.Bilinear):
        return FULLY_CONNECTED
    if isinstance(module, _NORMS) or "norm" in kind_of(module).lower():
        return NORM
    return EMBEDDING if _holds_tables(module) else OTHER


def _holds_tables(module: nn.Module) -> bool:
    names = parameter_names(module)
    return isinstance(module, nn.Embedding | nn.EmbeddingBag) or (
        bool(names) and all(any(part in name.lower() for part in _TABLES) for name in names)
    )


def kind_of(module: nn.Module, /) -> str:
    """Return the name of a module's class, without what constraints make of it."""
    return parametrize.type_before_parametrizations(module).__name__


def form_of(module: nn.Module, group: str, operation: str | None, /) -> str:
    """Return how a layer is called in a table: see `group_of`.

    >>> form_of(nn.Conv2d(8, 8, 3, groups=8, stride=2), "convolution", "convolution")
    '3×3 depthwise, stride 2'
    >>> form_of(nn.Linear(3, 2), "attention", "addmm"), form_of(nn.Linear(3, 2), "fully connected", "addmm")
    ('projection', 'linear')
    """
    if group == CONVOLUTION and isinstance(module, _ConvNd):
        return _form_of_convolution(module)
    if group == ATTENTION and operation is not None:
        return "projection"
    return "linear" if isinstance(module, nn.Linear) else kind_of(module)


def _form_of_convolution(layer: _ConvNd) -> str:
    form = "×".join(map(str, layer.kernel_size))
    if isinstance(layer, _ConvTransposeNd):
        form += " transposed"
    if is_depthwise(layer) or 1 < layer.groups == layer.in_channels:
        form += " depthwise"
    elif layer.groups > 1:
        form += f" in {layer.groups} groups"
    strides = dict.fromkeys(layer.stride)
    return form if set(strides) == {1} else f"{form}, stride {'×'.join(map(str, strides))}"
