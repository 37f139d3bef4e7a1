"""Channels found and removed, with all that goes with each, by Torch-Pruning's dependency graph.

Fang et al. 2023, arXiv:2301.12900. What the graph says is checked here: after the removal the network must compute what
it computed while the weights that read the same channels were zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from effbench.checks.errors import kind_and_line
from effbench.compression.layers import n_groups
from effbench.compression.modes import all_trainable, evaluating
from effbench.compression.structure.factorized import Factored
from effbench.compression.structure.shuffled_channels import (
    ShuffledChannels,
    ShuffleInputs,
    find_shuffled_channels,
    shuffles_hidden,
)
from effbench.compression.structure.watch import run_once

if TYPE_CHECKING:
    import torch_pruning

# These normalise over channels: their outputs change when a channel goes, even one that nothing reads.
_OVER_CHANNELS = (nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm)


@dataclass(frozen=True, kw_only=True, eq=False)
class Channels:
    """The output channels of a layer and of those that must keep as many, as in a residual sum."""

    layer: str
    n: int
    n_together: int
    """How many go together, c with c + n / n_together …, where a grouped convolution must keep equally many in each
    group; elsewhere 1."""
    group: Any
    """Torch-Pruning's group, with all channels: what its importance criteria take."""
    shuffled: ShuffledChannels | None = None
    """How they go through a channel shuffle, where they do; that decides then which go together."""

    def removals(self, importance: Tensor, /) -> list[Tensor]:
        """Return sets of channels, (n_set,) each, in the order in which they can go; at least one channel is in none.

        importance: (n,). The least important go first; the importance of a set is the mean of its channels'.
        """
        if self.shuffled is not None:
            return self.shuffled.shuffle.removals(importance)
        sets = torch.arange(self.n).reshape(self.n_together, -1).T
        return list(sets[importance[sets].mean(1).argsort(stable=True)][:-1])


ChannelChoice = Callable[[Sequence[Channels]], Sequence[Tensor]]
"""choose(channels of each layer) -> for each of these, the channels that go, int64: its first few removals, joined."""


def remove_channels(network: nn.Module, images: Tensor, choose: ChannelChoice, /) -> None:
    """Remove the chosen channels in place. Modes, and which parameters train, stay as they are; gradients are dropped.

    images: (N, C, H, W), an input. `choose` sees the network in evaluation mode, all its parameters trainable, and
    gradients that it had. ValueError, without the network's name, where its channels can't be followed, where none can
    be removed, and where the smaller network does not run or computes something else.
    """
    images = images.to(next(network.parameters()).device)
    with evaluating(network), all_trainable(network):
        with shuffles_hidden(network) as shuffle_inputs:
            graph = _trace(network, images)
        channels = list(_find_channels(graph, network, shuffle_inputs))
        if not channels:
            raise ValueError("none can be removed: all are outputs, or are mixed in a way that can't be followed")
        pairs = [pair for pair in zip(channels, choose(channels), strict=True) if len(pair[1])]
        assert all(len(going) < of_layer.n for of_layer, going in pairs), "a layer keeps at least one channel"
        expected = _remove(network, images, graph, pairs)
        _check_outputs(network, images, expected)


def _remove(
    network: nn.Module,
    images: Tensor,
    graph: torch_pruning.DependencyGraph,
    pairs: Sequence[tuple[Channels, Tensor]],
) -> Tensor:
    """Remove channels, in place; return what the network gave for images while nothing read them."""
    shuffled = [(channels.shuffled, going) for channels, going in pairs if channels.shuffled is not None]
    groups = [_subgroup(graph, channels, going) for channels, going in pairs if channels.shuffled is None]
    roots = [(group[0].dep, list(group[0].idxs)) for group in groups]
    for group in groups:
        _zero_readers(group, graph)
    for channels, going in shuffled:
        channels.zero_readers(going)
    outputs: Tensor = run_once(network, images)
    with torch.no_grad():
        for root, idxs in roots:  # asked for again: places in a concatenation have moved
            graph.get_pruning_group(root.target.module, root.handler, idxs).prune()
        for channels, going in shuffled:
            channels.remove(going)
    return outputs


def _subgroup(graph: torch_pruning.DependencyGraph, channels: Channels, going: Tensor) -> Any:
    """Return Torch-Pruning's group of some of the channels."""
    root = channels.group[0].dep
    return graph.get_pruning_group(root.target.module, root.handler, sorted(going.tolist()))


def _trace(network: nn.Module, images: Tensor) -> torch_pruning.DependencyGraph:
    """Return the dependency graph of a network. ValueError where it can't be made."""
    import torch_pruning

    try:
        return torch_pruning.DependencyGraph().build_dependency(network, example_inputs=images, verbose=False)
    except Exception as error:
        raise ValueError(f"they can't be followed through its forward pass ({kind_and_line(error)})") from error


def _find_channels(
    graph: torch_pruning.DependencyGraph, network: nn.Module, shuffle_inputs: ShuffleInputs
) -> Iterator[Channels]:
    """Yield the output channels that can be removed; the inner ones of low-rank factors are none of them."""
    names = {module: name for name, module in network.named_modules()}
    seen = {layer for chain in network.modules() if isinstance(chain, Factored) for layer in list(chain)[:-1]}
    mixed = {node for node, _ in shuffle_inputs}
    for root in [module for module in graph.module2node if isinstance(module, _ConvNd | nn.Linear)]:
        if root in seen:
            continue
        pruner = graph.get_pruner_of_module(root)
        n = pruner.get_out_channels(root)
        try:
            group = graph.get_pruning_group(root, pruner.prune_out_channels, list(range(n)))
        except Exception as error:
            if shuffle_inputs:  # without the shuffle, what it is between does not fit together
                continue
            raise ValueError(f"they can't be followed through its forward pass ({kind_and_line(error)})") from error
        seen |= {dep.target.module for dep, _ in group if graph.is_out_channel_pruning_fn(dep.handler)}
        if any(dep.target.grad_fn in mixed for dep, _ in group):
            shuffled = find_shuffled_channels(group, graph, shuffle_inputs)
            if shuffled is not None:
                yield Channels(layer=names[root], n=n, n_together=1, group=shuffled.group, shuffled=shuffled)
            continue
        n_together = math.lcm(*(_n_parts(dep.target.module) for dep, _ in group))
        if n % n_together == 0 and _is_free(group, graph):
            yield Channels(layer=names[root], n=n, n_together=n_together, group=group)


def _n_parts(module: nn.Module) -> int:
    """Return into how many equal parts a layer divides its channels."""
    return module.num_groups if isinstance(module, nn.GroupNorm) else n_groups(module)


def _is_free(group: Any, graph: torch_pruning.DependencyGraph) -> bool:
    """Whether channels neither reach the network's output, nor are more or less than what a grouped layer divides."""
    n = len(group[0].idxs)
    for dep, idxs in group:
        layer = dep.target.module
        makes = graph.is_out_channel_pruning_fn(dep.handler)
        if makes and not dep.target.outputs:
            return False
        if isinstance(layer, _ConvNd) and _n_parts(layer) > 1:
            if (layer.out_channels if makes else layer.in_channels) != n or list(idxs) != list(range(n)):
                return False
    return True


def _zero_readers(group: Any, graph: torch_pruning.DependencyGraph) -> None:
    """Set the weights with which later layers read the channels to zero, in place: they go with them."""
    for dep, idxs in group:
        layer = dep.target.module
        if graph.is_out_channel_pruning_fn(dep.handler) or not isinstance(layer, _ConvNd | nn.Linear):
            continue
        groups = layer.groups if isinstance(layer, _ConvNd) else 1
        weight = layer.weight.detach()
        if isinstance(layer, _ConvNd) and layer.transposed:
            weight[idxs] = 0
            continue
        for number, rows in enumerate(weight.chunk(groups)):
            rows[:, [i - number * weight.shape[1] for i in idxs if i // weight.shape[1] == number]] = 0


def _check_outputs(network: nn.Module, images: Tensor, expected: Tensor) -> None:
    """Raise a ValueError unless the network still runs and computes what it did while nothing read the channels."""
    try:
        outputs = run_once(network, images)
    except Exception as error:
        raise ValueError(
            f"its forward pass names the number of channels it was written for ({kind_and_line(error)})"
        ) from error
    if outputs.shape != expected.shape:
        raise ValueError(f"its outputs changed shape, {tuple(expected.shape)} to {tuple(outputs.shape)}")
    if any(isinstance(module, _OVER_CHANNELS) for module in network.modules()) or not expected.isfinite().all():
        return
    if differ(outputs, expected):
        raise ValueError("its forward pass mixes or reorders them in a way that can't be followed")


def differ(outputs: Tensor, expected: Tensor, /) -> bool:
    """Whether outputs differ by more than another order of float32's additions explains: 1e-3 of the largest."""
    return bool((outputs - expected).abs().max() > 1e-3 * expected.abs().max() + 1e-6)
