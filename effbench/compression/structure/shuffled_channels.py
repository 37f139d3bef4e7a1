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

from effbench.compression.structure.shuffle import Shuffle

if TYPE_CHECKING:
    import torch_pruning

Shuffled = Sequence[tuple[Any, int | None]]
"""What shuffles were given (its `grad_fn`), and in how many groups they shuffle it, where that is known."""


@contextmanager
def shuffles_hidden(network: nn.Module) -> Iterator[list[tuple[Any, int | None]]]:
    """Let channel shuffles return their input, and yield what they were given (`Shuffled`).

    The graph can't follow a shuffle (and fails to divide by zero at one). Known are functions `channel_shuffle` of
    torch or of the module that defines a network, and modules called …ChannelShuffle.
    """
    shuffled: list[tuple[Any, int | None]] = []

    def hiding(known: int | None) -> Callable[..., Tensor]:
        def pass_through(images: Tensor, *given: int, **named: int) -> Tensor:
            groups = known or named.get("groups") or next(iter(given), None)
            shuffled.append((images.grad_fn, groups))
            return images

        return pass_through

    sources = {sys.modules[type(module).__module__] for module in network.modules()}
    owners = [one for one in (torch, nn.functional, *sources) if hasattr(one, "channel_shuffle")]
    functions = [(one, one.channel_shuffle) for one in owners]
    modules = [m for m in network.modules() if type(m).__name__.endswith("ChannelShuffle")]
    try:
        for owner, _function in functions:
            owner.channel_shuffle = hiding(None)  # type: ignore[attr-defined]
        for module in modules:
            module.forward = hiding(getattr(module, "groups", None))
        yield shuffled
    finally:
        for owner, function in functions:
            owner.channel_shuffle = function  # type: ignore[attr-defined]
        for module in modules:
            del module.forward


@dataclass(frozen=True, kw_only=True, eq=False)
class Passage:
    """Channels that one shuffle stands between. They are named as before it."""

    shuffle: Shuffle
    layers: tuple[tuple[nn.Module, bool, bool], ...]
    """Each with whether it stands after the shuffle and whether it reads the channels; else it makes or passes on."""
    group: Any
    """What Torch-Pruning's importance criteria take: its group, with each place named by the channel that is there."""

    def silence(self, channels: Tensor, /) -> None:
        """Set the weights with which the layers after read the channels to zero, in place."""
        for layer, is_after, reads in self.layers:
            if reads:
                assert isinstance(layer, _ConvNd)
                places = self.shuffle.places[channels] if is_after else channels
                per_group = layer.in_channels // layer.groups
                for place in places.tolist():
                    rows = layer.weight.detach().chunk(layer.groups)[place // per_group]
                    rows[:, place % per_group] = 0

    def remove(self, channels: Tensor, /) -> None:
        """Remove channels from all layers, in place."""
        stays = torch.ones(self.shuffle.n, dtype=torch.bool)
        stays[channels] = False
        before, after = self.shuffle.keep(torch.nonzero(stays).flatten())
        for layer, is_after, reads in self.layers:
            (_keep_read if reads else _keep_made)(layer, after if is_after else before)


def passage_of(group: Any, graph: torch_pruning.DependencyGraph, shuffled: Shuffled) -> Passage | None:
    """Return how a group of all channels goes through its shuffle; None where that can't be followed.

    Followed are convolutions, batch norms and what acts on each element, before and after one shuffle, where all have
    the same channels and the first convolutions make and the last ones read them.
    """
    from torch_pruning.ops import OPTYPE

    inputs = {mixed: groups for mixed, groups in shuffled}
    after, crossed = _sides(group, inputs)
    n = len(group[0].idxs)
    if after is None or len(crossed) != 1 or not (n_groups := inputs[crossed.pop()]) or n % n_groups:
        return None
    layers, before, behind = [], 1, 1
    for dep, idxs in group:
        layer, is_after = dep.target.module, after[dep.target]
        reads = not graph.is_out_channel_pruning_fn(dep.handler)
        if list(idxs) != list(range(n)) or (not dep.target.outputs and not reads):
            return None
        if dep.target.type == OPTYPE.ELEMENTWISE:
            continue
        if not isinstance(layer, _ConvNd | _BatchNorm) or getattr(layer, "transposed", False):
            return None
        if isinstance(layer, _ConvNd) and not _is_depthwise(layer):
            if reads != is_after or (layer.in_channels if reads else layer.out_channels) != n:
                return None
            before, behind = (
                (before, math.lcm(behind, layer.groups)) if reads else (math.lcm(before, layer.groups), behind)
            )
        layers.append((layer, is_after, reads))
    shuffle = Shuffle(n=n, groups=n_groups, before=before, after=behind)
    if n % shuffle.step:
        return None
    return Passage(shuffle=shuffle, layers=tuple(layers), group=_renamed(group, after, shuffle))


def _sides(group: Any, inputs: dict[Any, int | None]) -> tuple[dict[Any, bool] | None, set[Any]]:
    """Return which nodes stand after a shuffle, and what shuffles were crossed; None where there is no telling."""
    depth = {group[0].dep.target: 0}
    crossed = set()
    for dep, _ in list(group)[1:]:
        if dep.source not in depth:
            return None, set()
        step = 0
        if dep.source.grad_fn in inputs and dep.target in dep.source.outputs:
            step = 1
            crossed.add(dep.source.grad_fn)
        elif dep.target.grad_fn in inputs and dep.source in dep.target.outputs:
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
        one = copy.copy(dep)
        one.target = copy.copy(dep.target)
        layer = one.target.module
        if after[dep.target] and isinstance(layer, _ConvNd) and layer.groups > 1 and not _is_depthwise(layer):
            one.target.module = _dense(layer)
        item = GroupItem(dep=one, idxs=list(idxs))
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


def _is_depthwise(layer: _ConvNd) -> bool:
    return layer.groups > 1 and layer.groups == layer.in_channels == layer.out_channels


def _keep_made(layer: nn.Module, kept: Tensor) -> None:
    """Leave a convolution's outputs, or a batch norm's or depthwise convolution's channels, in the order given."""
    for name, tensor in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
        if tensor.ndim:  # a count of batches has no channels
            _set(layer, name, tensor.detach()[kept.to(tensor.device)])
    if isinstance(layer, _BatchNorm):
        layer.num_features = len(kept)
        return
    assert isinstance(layer, _ConvNd)
    if _is_depthwise(layer):
        layer.in_channels = layer.groups = len(kept)
    layer.out_channels = len(kept)


def _keep_read(layer: nn.Module, kept: Tensor) -> None:
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
