"""The channels of a network that can be removed, with all that goes with each: Torch-Pruning's dependency graph.

Fang et al. 2023, arXiv:2301.12900. What the graph says is checked here: after the removal the network must compute what
it computed with the same channels silenced.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from effbench.factored import Factored

if TYPE_CHECKING:
    import torch_pruning

# These normalise over channels: their outputs change when a silent channel goes.
_OVER_CHANNELS = (nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm)


@dataclass(frozen=True, kw_only=True, eq=False)
class Channels:
    """The output channels of a layer and of those that must keep as many, as in a residual sum.

    They can be removed in sets of `n_together`: channel c goes with c + n_sets, c + 2 · n_sets … where a grouped
    convolution must keep equally many in each group; elsewhere a set is one channel.
    """

    layer: str
    n: int
    n_together: int
    group: Any
    """Torch-Pruning's group, with all channels: what its importance criteria take."""

    @property
    def n_sets(self) -> int:
        """How many sets of channels there are."""
        return self.n // self.n_together


Chooser = Callable[[Sequence[Channels]], Sequence[Sequence[int]]]
"""chooser(found) -> for each of the found, the numbers of the sets that go: not all of them."""


def remove_channels(network: nn.Module, images: Tensor, choose: Chooser, /) -> None:
    """Remove the chosen channels in place; the network is then in eval mode, its parameters all trainable.

    images: (N, C, H, W), an input. ValueError, without the network's name, where its channels can't be followed, where
    none can be removed, and where the smaller network does not run or computes something else.
    """
    images = images.to(next(network.parameters()).device)
    with _shuffles_hidden(network.requires_grad_(True).eval()) as shuffled:
        graph = _trace(network, images)
    found = [channels for channels in _all_channels(graph, network, shuffled) if _is_free(channels, graph, shuffled)]
    if not found:
        raise ValueError("none can be removed: all are outputs, or are mixed by a channel shuffle")
    groups = []
    for channels, sets in zip(found, choose(found), strict=True):
        assert len(sets) < channels.n_sets, "a layer keeps at least one channel"
        if len(sets):
            idxs = sorted(int(one) + k * channels.n_sets for one in sets for k in range(channels.n_together))
            root = channels.group[0].dep
            groups.append(graph.get_pruning_group(root.target.module, root.handler, idxs))
    roots = [(group[0].dep, list(group[0].idxs)) for group in groups]
    for group in groups:
        _silence(group, graph)
    with torch.no_grad():
        expected = network(images)
        for root, idxs in roots:  # asked for again: places in a concatenation have moved
            graph.get_pruning_group(root.target.module, root.handler, idxs).prune()
    _check(network, images, expected)


def restore_modes(pruned: nn.Module, before: nn.Module, /) -> None:
    """Give the network back its modes and which of its parameters train; gradients were for scoring only."""
    modes = {name: module.training for name, module in before.named_modules()}
    trained = {name: parameter.requires_grad for name, parameter in before.named_parameters()}
    for name, module in pruned.named_modules():
        module.training = modes[name]
    for name, parameter in pruned.named_parameters():
        parameter.grad = None
        parameter.requires_grad_(trained[name])


def _trace(network: nn.Module, images: Tensor) -> torch_pruning.DependencyGraph:
    """Return the dependency graph of a network. ValueError where it can't be made."""
    import torch_pruning

    try:
        return torch_pruning.DependencyGraph().build_dependency(network, example_inputs=images, verbose=False)
    except Exception as error:
        raise ValueError(f"they can't be followed through its forward pass ({_gist(error)})") from error


def _all_channels(
    graph: torch_pruning.DependencyGraph, network: nn.Module, shuffled: Sequence[Any]
) -> Iterator[Channels]:
    """Yield the output channels of convolutions and linear layers; the inner ones of low-rank factors are none."""
    names = {module: name for name, module in network.named_modules()}
    seen = {layer for chain in network.modules() if isinstance(chain, Factored) for layer in list(chain)[:-1]}
    for root in [module for module in graph.module2node if isinstance(module, _ConvNd | nn.Linear)]:
        if root in seen:
            continue
        pruner = graph.get_pruner_of_module(root)
        n = pruner.get_out_channels(root)
        try:
            group = graph.get_pruning_group(root, pruner.prune_out_channels, list(range(n)))
        except Exception as error:
            if shuffled:  # without the shuffle, what it is between does not fit together
                continue
            raise ValueError(f"they can't be followed through its forward pass ({_gist(error)})") from error
        seen |= {dep.target.module for dep, _ in group if graph.is_out_channel_pruning_fn(dep.handler)}
        n_together = math.lcm(*(_n_groups(dep.target.module) for dep, _ in group))
        if n % n_together == 0:
            yield Channels(layer=names[root], n=n, n_together=n_together, group=group)


def _n_groups(module: nn.Module) -> int:
    """Return into how many equal parts a layer divides its channels; a depthwise one doesn't, as none are mixed."""
    if isinstance(module, nn.GroupNorm):
        return module.num_groups
    depthwise = isinstance(module, _ConvNd) and module.groups == module.in_channels == module.out_channels
    return module.groups if isinstance(module, _ConvNd) and not depthwise else 1


def _is_free(channels: Channels, graph: torch_pruning.DependencyGraph, shuffled: Sequence[Any]) -> bool:
    """Whether channels neither reach the network's output nor a channel shuffle."""
    for dep, _idxs in channels.group:
        node = dep.target
        if graph.is_out_channel_pruning_fn(dep.handler) and not node.outputs:
            return False
        if any(node.grad_fn is mixed for mixed in shuffled):
            return False
    return True


def _silence(group: Any, graph: torch_pruning.DependencyGraph) -> None:
    """Set the weights with which later layers read the channels to zero: they go with them."""
    for dep, idxs in group:
        layer = dep.target.module
        if graph.is_out_channel_pruning_fn(dep.handler) or not isinstance(layer, _ConvNd | nn.Linear):
            continue
        groups = layer.groups if isinstance(layer, _ConvNd) else 1
        weight = layer.weight.detach()
        if isinstance(layer, _ConvNd) and layer.transposed:
            weight[idxs] = 0
            continue
        for rows, number in zip(weight.chunk(groups), range(groups), strict=True):
            rows[:, [i - number * weight.shape[1] for i in idxs if i // weight.shape[1] == number]] = 0


def _check(network: nn.Module, images: Tensor, expected: Tensor) -> None:
    """Raise a ValueError unless the network still runs and computes what it did with the channels silenced."""
    try:
        with torch.no_grad():
            outputs = network(images)
    except Exception as error:
        raise ValueError(
            f"its forward pass names the number of channels it was written for ({_gist(error)})"
        ) from error
    if outputs.shape != expected.shape:
        raise ValueError(f"its outputs changed shape, {tuple(expected.shape)} to {tuple(outputs.shape)}")
    if any(isinstance(module, _OVER_CHANNELS) for module in network.modules()) or not expected.isfinite().all():
        return
    if (outputs - expected).abs().max() > 1e-3 * expected.abs().max() + 1e-6:
        raise ValueError("its forward pass mixes or reorders them in a way that can't be followed")


@contextmanager
def _shuffles_hidden(network: nn.Module) -> Iterator[list[Any]]:
    """Let channel shuffles return their input, and yield what they were given (its `grad_fn`): these channels stay.

    The graph can't follow a shuffle (and fails to divide by zero at one). Known are functions `channel_shuffle` of
    torch or of the module that defines a network, and modules called …ChannelShuffle.
    """
    shuffled: list[Any] = []

    def pass_through(images: Tensor, *_: object, **__: object) -> Tensor:
        shuffled.append(images.grad_fn)
        return images

    sources = {sys.modules[type(module).__module__] for module in network.modules()}
    owners = [one for one in (torch, nn.functional, *sources) if hasattr(one, "channel_shuffle")]
    functions = [(one, one.channel_shuffle) for one in owners]
    modules = [m for m in network.modules() if type(m).__name__.endswith("ChannelShuffle")]
    try:
        for owner, _function in functions:
            owner.channel_shuffle = pass_through  # type: ignore[attr-defined]
        for module in modules:
            module.forward = pass_through
        yield shuffled
    finally:
        for owner, function in functions:
            owner.channel_shuffle = function  # type: ignore[attr-defined]
        for module in modules:
            del module.forward


def _gist(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}"[:200] if lines else type(error).__name__
