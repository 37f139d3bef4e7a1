"""What a layer does with channels that go together, and these as Torch-Pruning's importance criteria take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from effbench.compression.layers import is_depthwise, n_groups
from effbench.compression.structure.edits import widths_of

Role = Literal["makes", "passes", "reads"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Touched:
    """A layer that makes, passes on or reads channels."""

    layer: nn.Module
    name: str
    role: Role
    places: Tensor
    """(m,) the inputs of a layer that reads, otherwise the outputs, that are channels; int64, ascending."""
    channels: Tensor
    """(m,) the number of the channel at each of these places."""
    is_after: bool = False
    """Whether the layer stands after a channel shuffle; its channels are named as before it, all the same."""

    def is_whole(self, n: int, /) -> bool:
        """Whether the n channels are all that the layer has on this side, in their order."""
        own = torch.arange(n)
        return torch.equal(self.places, own) and torch.equal(self.channels, own) and self.n_places == n

    @property
    def n_places(self) -> int:
        """How many places the layer has on this side."""
        widths = widths_of(self.layer) or (len(self.places),)  # what has no sizes takes any number
        return widths[0] if self.role == "reads" or len(widths) == 1 else widths[1]


def importance_group(n: int, touched: Sequence[Touched], /) -> list[Any]:
    """Return Torch-Pruning's group of all n channels: what its importance criteria take.

    These add up what later layers have in a tensor of the first one's size: where that is not n, a layer of zeros
    stands before it, of a kind that all criteria take that take one of the others.
    """
    items = _items(touched)
    first_norm = next((len(one.places) for one in touched if isinstance(one.layer, _BatchNorm)), n)
    if items and (len(items[0].idxs), first_norm) != (n, n):
        norm = any(isinstance(one.layer, _BatchNorm) for one in touched)
        layer: nn.Module = nn.BatchNorm1d(n) if norm else nn.utils.skip_init(nn.Linear, 1, n)  # type: ignore[no-untyped-call]
        for parameter in layer.parameters():
            parameter.data.zero_()
            parameter.grad = torch.zeros_like(parameter)
        own = torch.arange(n)
        items = _items([Touched(layer=layer, name="", role="makes", places=own, channels=own), *touched])
    return items


def _items(touched: Sequence[Touched]) -> list[Any]:
    from torch_pruning._helpers import GroupItem
    from torch_pruning.pruner import function

    items = []
    for one in touched:
        layer, reads = one.layer, one.role == "reads"
        if isinstance(layer, _ConvNd) and not is_depthwise(layer):
            handler = function.prune_conv_in_channels if reads else function.prune_conv_out_channels
            read_apart = one.is_after or layer.groups == layer.in_channels
            if n_groups(layer) > 1 and (not reads if layer.transposed else reads and read_apart):
                layer = _dense(layer)
        elif isinstance(layer, nn.Linear):
            handler = function.prune_linear_in_channels if reads else function.prune_linear_out_channels
        elif isinstance(layer, _BatchNorm):
            handler = function.prune_batchnorm_out_channels
        elif isinstance(layer, nn.LayerNorm):
            handler = function.prune_layernorm_out_channels
        else:
            continue
        dep = SimpleNamespace(target=SimpleNamespace(module=layer), layer=layer, handler=handler, pruning_fn=handler)
        item = GroupItem(dep=dep, idxs=one.places.tolist())
        item.root_idxs = one.channels.tolist()
        items.append(item)
    return items


def _dense(layer: _ConvNd) -> nn.Module:
    """Return a convolution in which each channel has the weights that read it in its group (transposed: make it).

    Torch-Pruning takes what is read at the same place of every group together: right where these go together.
    """

    def joined(tensor: Tensor) -> Tensor:
        whole = torch.cat(tensor.chunk(layer.groups), dim=1)
        return whole.transpose(0, 1) if layer.transposed else whole

    dense = nn.Conv2d(1, 1, 1)
    dense.weight, dense.bias = nn.Parameter(joined(layer.weight.detach())), layer.bias
    if layer.weight.grad is not None:
        dense.weight.grad = joined(layer.weight.grad)
    dense.in_channels, dense.out_channels = dense.weight.shape[1], dense.weight.shape[0]
    return dense
