"""The channels of a network that can be removed, with all that goes with each: Torch-Pruning's dependency graph.

Fang et al. 2023, arXiv:2301.12900. What the graph says is checked here: after the removal the network must compute what
it computed with the same channels silenced.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from effbench.compression.structure.factorized import Factored
from effbench.compression.structure.shuffled_channels import Passage, Shuffled, passage_of, shuffles_hidden

if TYPE_CHECKING:
    import torch_pruning

# These normalise over channels: their outputs change when a silent channel goes.
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
    passage: Passage | None = None
    """How they go through a channel shuffle, where they do; that decides then which go together."""

    def removals(self, importance: Tensor, /) -> list[Tensor]:
        """Return sets of channels, (n_set,) each, in the order in which they can go; at least one channel is in none.

        importance: (n,). The least important go first; the importance of a set is the mean of its channels'.
        """
        if self.passage is not None:
            return self.passage.shuffle.removals(importance)
        sets = torch.arange(self.n).reshape(self.n_together, -1).T
        return list(sets[importance[sets].mean(1).argsort(stable=True)][:-1])


Chooser = Callable[[Sequence[Channels]], Sequence[Tensor]]
"""chooser(found) -> for each of the found, the channels that go, int64: the first few of its removals, joined."""


def remove_channels(network: nn.Module, images: Tensor, choose: Chooser, /) -> None:
    """Remove the chosen channels in place; the network is then in eval mode, its parameters all trainable.

    images: (N, C, H, W), an input. ValueError, without the network's name, where its channels can't be followed, where
    none can be removed, and where the smaller network does not run or computes something else.
    """
    images = images.to(next(network.parameters()).device)
    with shuffles_hidden(network.requires_grad_(True).eval()) as shuffled:
        graph = _trace(network, images)
    found = list(_all_channels(graph, network, shuffled))
    if not found:
        raise ValueError("none can be removed: all are outputs, or are mixed in a way that can't be followed")
    chosen = [(one, going) for one, going in zip(found, choose(found), strict=True) if len(going)]
    assert all(len(going) < one.n for one, going in chosen), "a layer keeps at least one channel"
    passages = [(one.passage, going) for one, going in chosen if one.passage is not None]
    groups = [_subgroup(graph, one, going) for one, going in chosen if one.passage is None]
    roots = [(group[0].dep, list(group[0].idxs)) for group in groups]
    for group in groups:
        _silence(group, graph)
    for passage, going in passages:
        passage.silence(going)
    with torch.no_grad():
        expected = network(images)
        for root, idxs in roots:  # asked for again: places in a concatenation have moved
            graph.get_pruning_group(root.target.module, root.handler, idxs).prune()
        for passage, going in passages:
            passage.remove(going)
    _check(network, images, expected)


def _subgroup(graph: torch_pruning.DependencyGraph, channels: Channels, going: Tensor) -> Any:
    """Return Torch-Pruning's group of some of the channels."""
    root = channels.group[0].dep
    return graph.get_pruning_group(root.target.module, root.handler, sorted(going.tolist()))


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


def _all_channels(graph: torch_pruning.DependencyGraph, network: nn.Module, shuffled: Shuffled) -> Iterator[Channels]:
    """Yield the output channels that can be removed; the inner ones of low-rank factors are none of them."""
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
        if any(node.grad_fn is mixed for node in (dep.target for dep, _ in group) for mixed, _ in shuffled):
            passage = passage_of(group, graph, shuffled)
            if passage is not None:
                yield Channels(layer=names[root], n=n, n_together=1, group=passage.group, passage=passage)
            continue
        n_together = math.lcm(*(_n_groups(dep.target.module) for dep, _ in group))
        if n % n_together == 0 and _is_free(group, graph):
            yield Channels(layer=names[root], n=n, n_together=n_together, group=group)


def _n_groups(module: nn.Module) -> int:
    """Return into how many equal parts a layer divides its channels; a depthwise one doesn't, as none are mixed."""
    if isinstance(module, nn.GroupNorm):
        return module.num_groups
    depthwise = isinstance(module, _ConvNd) and module.groups == module.in_channels == module.out_channels
    return module.groups if isinstance(module, _ConvNd) and not depthwise else 1


def _is_free(group: Any, graph: torch_pruning.DependencyGraph) -> bool:
    """Whether channels neither reach the network's output, nor are more or less than what a grouped layer divides."""
    n = len(group[0].idxs)
    for dep, idxs in group:
        layer = dep.target.module
        makes = graph.is_out_channel_pruning_fn(dep.handler)
        if makes and not dep.target.outputs:
            return False
        if isinstance(layer, _ConvNd) and _n_groups(layer) > 1:
            if (layer.out_channels if makes else layer.in_channels) != n or list(idxs) != list(range(n)):
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


def _gist(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}"[:200] if lines else type(error).__name__
