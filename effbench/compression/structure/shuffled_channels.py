"""Channel shuffles in a network's dependency graph: hidden while it is traced, then put back between its layers."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from effbench.compression.layers import is_depthwise, n_groups
from effbench.compression.structure.shuffle import Shuffle

if TYPE_CHECKING:
    import torch_pruning

ShuffleInputs = Sequence[tuple[Any, int | None]]
"""What shuffles were given (its `grad_fn`), and in how many groups they shuffle it, where that is known."""


@contextmanager
def shuffles_hidden(network: nn.Module, /) -> Iterator[list[tuple[Any, int | None]]]:
    """While entered, channel shuffles return their input; yields what they were given (`ShuffleInputs`).

    The graph can't follow a shuffle (and fails to divide by zero at one). Known are functions `channel_shuffle` of
    torch or of the module that defines a network, and modules called …ChannelShuffle.
    """
    shuffle_inputs: list[tuple[Any, int | None]] = []

    def hiding(known: int | None) -> Callable[..., Tensor]:
        def pass_through(images: Tensor, *given: int, **named: int) -> Tensor:
            groups = known or named.get("groups") or next(iter(given), None)
            shuffle_inputs.append((images.grad_fn, groups))
            return images

        return pass_through

    sources = {sys.modules[type(module).__module__] for module in network.modules()}
    owners = [owner for owner in (torch, nn.functional, *sources) if hasattr(owner, "channel_shuffle")]
    functions = [(owner, owner.channel_shuffle) for owner in owners]
    modules = [module for module in network.modules() if type(module).__name__.endswith("ChannelShuffle")]
    try:
        for owner, _function in functions:
            owner.channel_shuffle = hiding(None)  # type: ignore[attr-defined]
        for module in modules:
            module.forward = hiding(getattr(module, "groups", None))
        yield shuffle_inputs
    finally:
        for owner, function in functions:
            owner.channel_shuffle = function  # type: ignore[attr-defined]
        for module in modules:
            del module.forward


@dataclass(frozen=True, kw_only=True)
class TouchedLayer:
    """A layer that makes, passes on or reads channels that go through a shuffle."""

    layer: nn.Module
    is_after: bool
    """Whether it stands after the shuffle."""
    reads: bool
    """Whether it reads the channels; otherwise it makes them or passes them on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ShuffledChannels:
    """Channels that go through one shuffle. They are named as before it."""

    shuffle: Shuffle
    layers: tuple[TouchedLayer, ...]
    group: Any
    """What Torch-Pruning's importance criteria take: its group, with each place named by the channel that is there."""

    def zero_readers(self, channels: Tensor, /) -> None:
        """Set the weights with which the layers after read the channels to zero, in place."""
        for touched in self.layers:
            if touched.reads:
                layer = touched.layer
                assert isinstance(layer, _ConvNd)
                places = self.shuffle.places[channels] if touched.is_after else channels
                per_group = layer.in_channels // layer.groups
                for place in places.tolist():
                    rows = layer.weight.detach().chunk(layer.groups)[place // per_group]
                    rows[:, place % per_group] = 0

    def remove(self, channels: Tensor, /) -> None:
        """Remove channels from all layers, in place."""
        stays = torch.ones(self.shuffle.n, dtype=torch.bool)
        stays[channels] = False
        before, after = self.shuffle.keep(torch.nonzero(stays).flatten())
        for touched in self.layers:
            (_keep_inputs if touched.reads else _keep_outputs)(touched.layer, after if touched.is_after else before)


def find_shuffled_channels(
    group: Any, graph: torch_pruning.DependencyGraph, shuffle_inputs: ShuffleInputs, /
) -> ShuffledChannels | None:
    """Return how a group of all channels goes through its shuffle; None where that can't be followed.

    Followed are convolutions, batch norms and what acts on each element, before and after one shuffle, where all have
    the same channels and the first convolutions make and the last ones read them.
    """
    groups_of = dict(shuffle_inputs)
    after, crossed = _sides(group, groups_of)
    n = len(group[0].idxs)
    if after is None or len(crossed) != 1 or not (n_shuffled := groups_of[crossed.pop()]) or n % n_shuffled:
        return None
    layers = _touched_layers(group, graph, after)
    if layers is None:
        return None
    shuffle = Shuffle(
        n=n,
        groups=n_shuffled,
        before=math.lcm(*(n_groups(touched.layer) for touched in layers if not touched.reads)),
        after=math.lcm(*(n_groups(touched.layer) for touched in layers if touched.reads)),
    )
    if n % shuffle.step:
        return None
    return ShuffledChannels(shuffle=shuffle, layers=layers, group=_renamed(group, after, shuffle))


def _touched_layers(
    group: Any, graph: torch_pruning.DependencyGraph, after: dict[Any, bool]
) -> tuple[TouchedLayer, ...] | None:
    """Return the layers of a group, the convolutions and batch norms; None where there is another kind of layer."""
    from torch_pruning.ops import OPTYPE

    layers, n = [], len(group[0].idxs)
    for dep, idxs in group:
        layer, is_after = dep.target.module, after[dep.target]
        reads = not graph.is_out_channel_pruning_fn(dep.handler)
        if list(idxs) != list(range(n)) or (not dep.target.outputs and not reads):
            return None
        if dep.target.type == OPTYPE.ELEMENTWISE:
            continue
        if not isinstance(layer, _ConvNd | _BatchNorm) or getattr(layer, "transposed", False):
            return None
        if isinstance(layer, _ConvNd) and not is_depthwise(layer):
            if reads != is_after or (layer.in_channels if reads else layer.out_channels) != n:
                return None
        layers.append(TouchedLayer(layer=layer, is_after=is_after, reads=reads))
    return tuple(layers)


def _sides(group: Any, groups_of: dict[Any, int | None]) -> tuple[dict[Any, bool] | None, set[Any]]:
    """Return which nodes stand after a shuffle, and what shuffles were crossed; None where there is no telling."""
    depth = {group[0].dep.target: 0}
    crossed = set()
    for dep, _ in list(group)[1:]:
        if dep.source not in depth:
            return None, set()
        step = 0
        if dep.source.grad_fn in groups_of and dep.target in dep.source.outputs:
            step = 1
            crossed.add(dep.source.grad_fn)
        elif dep.target.grad_fn in groups_of and dep.source in dep.target.outputs:
            step = -1
            crossed.add(dep.target.grad_fn)
        if depth.setdefault(dep.target, depth[dep.source] + step) != depth[dep.source] + step:
            return None, set()
    first = min(depth.values())
    return {node: level > first for node, level in depth.items()}, crossed


def _renamed(group: Any, after: dict[Any, bool], shuffle: Shuffle) -> list[Any]:
    """Return the group with the places after the shuffle named by the channels that stand there."""
    from torch_pruning._helpers import GroupItem

    channels, items = shuffle.places.argsort().tolist(), []
    for dep, idxs in group:
        renamed = copy.copy(dep)
        renamed.target = copy.copy(dep.target)
        layer = renamed.target.module
        if after[dep.target] and n_groups(layer) > 1:
            assert isinstance(layer, _ConvNd)
            renamed.target.module = _dense(layer)
        item = GroupItem(dep=renamed, idxs=list(idxs))
        item.root_idxs = channels if after[dep.target] else list(idxs)
        items.append(item)
    return items


def _dense(layer: _ConvNd) -> nn.Module:
    """Return a convolution in which each channel has the weights that read it in its group.

    Torch-Pruning takes what is read at the same place of every group together: right where these go together.
    """
    dense = nn.Conv2d(1, 1, 1)
    dense.weight = nn.Parameter(torch.cat(layer.weight.detach().chunk(layer.groups), dim=1))
    if layer.weight.grad is not None:
        dense.weight.grad = torch.cat(layer.weight.grad.chunk(layer.groups), dim=1)
    dense.in_channels, dense.out_channels = dense.weight.shape[1], dense.weight.shape[0]
    return dense


def _keep_outputs(layer: nn.Module, kept: Tensor) -> None:
    """Leave a convolution's outputs, or a batch norm's or depthwise convolution's channels, in the order given."""
    for name, tensor in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
        if tensor.ndim:  # a count of batches has no channels
            _set(layer, name, tensor.detach()[kept.to(tensor.device)])
    if isinstance(layer, _BatchNorm):
        layer.num_features = len(kept)
        return
    assert isinstance(layer, _ConvNd)
    if is_depthwise(layer):
        layer.in_channels = layer.groups = len(kept)
    layer.out_channels = len(kept)


def _keep_inputs(layer: nn.Module, kept: Tensor) -> None:
    """Leave a convolution's inputs in the order given; each group reads those that it read."""
    assert isinstance(layer, _ConvNd)
    columns = kept.to(layer.weight.device).reshape(layer.groups, -1) % (layer.in_channels // layer.groups)
    parts = layer.weight.detach().chunk(layer.groups)
    _set(layer, "weight", torch.cat([rows[:, own] for rows, own in zip(parts, columns, strict=True)]))
    layer.in_channels = len(kept)


def _set(layer: nn.Module, name: str, tensor: Tensor) -> None:
    """Put a tensor where a parameter or a buffer was."""
    if name in layer._parameters:
        layer._parameters[name] = nn.Parameter(tensor.clone())
    else:
        layer._buffers[name] = tensor.clone()
