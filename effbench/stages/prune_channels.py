"""Structured pruning: whole channels are removed, and the network computes less."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effbench.channels import Channels, remove_channels, restore_modes
from effbench.constraints import bake
from effbench.recipe import Context
from effbench.structure import record_changes

Criterion = Literal["l1", "l2", "batch_norm", "taylor", "random"]
Score = Callable[[Channels], Tensor | None]
N_SCORING_EXAMPLES = 1_000


@dataclass(frozen=True, kw_only=True)
class PruneChannels:
    """Remove the least important output channels of convolutions and neurons of linear layers, physically.

    What depends on a channel goes with it (the inputs of the next layer, its batch norm, the depthwise kernel, the same
    channel across a residual sum), as Torch-Pruning's dependency graph finds it (Fang et al. 2023, arXiv:2301.12900);
    importance is taken over all that goes. The network's outputs, and channels that a channel shuffle mixes, stay.
    Constraints that the network has already (masks, quantisers) are made permanent values first: their places and grids
    belong to tensors that are no more; a later stage of the recipe can impose them anew.

    criterion: `l1` or `l2` norm of the weights (after Li et al. 2016, arXiv:1608.08710, section 3.1, who take the l1 of
    the filter alone), `batch_norm` scale (Liu et al. 2017, arXiv:1708.06519; channels without one stay), `taylor`:
    |w · dL/dw| on training examples (Molchanov et al. 2019, arXiv:1906.10771), `random`, the control. scope: `layer`
    removes the same share of each layer, `global` ranks the channels of all layers, each layer's importance divided by
    its mean. No layer loses its last channel.
    """

    VERSION: ClassVar[int] = 1

    ratio: float
    """Share of the removable output channels that is removed, in [0, 1)."""
    criterion: Criterion = "l1"
    scope: Literal["global", "layer"] = "layer"

    def __post_init__(self) -> None:
        """Refuse what can't be pruned to."""
        if not 0 <= self.ratio < 1:
            raise ValueError(f"ratio={self.ratio}: must be in [0, 1)")
        if self.criterion not in get_args(Criterion):
            raise ValueError(f"criterion={self.criterion}: must be {', '.join(get_args(Criterion))}")
        if self.scope not in ("global", "layer"):
            raise ValueError(f"scope={self.scope}: must be global or layer")

    def at_round(self, position: int, n_rounds: int) -> PruneChannels:
        """Return the stage for one of `n_rounds`: each removes the same share of the channels that are left."""
        return dataclasses.replace(self, ratio=1 - (1 - self.ratio) ** (1 / n_rounds))

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` with fewer channels. ValueError, with its name, where it can't lose any."""
        if self.ratio == 0:
            return copy.deepcopy(model)
        before = bake(model)
        pruned = copy.deepcopy(before)
        images = next(context.data.batches("train", side=context.side, batch_size=2))[0]
        if self.criterion == "taylor":
            _set_gradients(pruned, context)
        try:
            remove_channels(pruned, images, lambda found: self._choose(found, self._score(context)))
            record_changes(before, pruned)
        except ValueError as error:
            raise ValueError(f"prune_channels: {type(model).__name__} can't lose channels: {error}") from error
        restore_modes(pruned, before)
        return pruned

    def _score(self, context: Context) -> Score:
        """Return what gives channels their importance, (n_channels,), or None where it has nothing to say."""
        import torch_pruning

        if self.criterion == "random":
            generator = context.generator()
            return lambda channels: torch.rand(channels.n, generator=generator)
        score: Score = {
            "l1": lambda: torch_pruning.importance.GroupMagnitudeImportance(p=1),
            "l2": lambda: torch_pruning.importance.GroupMagnitudeImportance(p=2),
            "batch_norm": torch_pruning.importance.BNScaleImportance,
            "taylor": torch_pruning.importance.GroupTaylorImportance,
        }[self.criterion]()
        return lambda channels: score(channels.group)

    def _choose(self, found: Sequence[Channels], score: Score) -> list[list[int]]:
        """Return, for each of the found channels, the numbers of the sets that go."""
        scores = [_by_set(channels, score) for channels in found]
        if all(one is None for one in scores):
            raise ValueError(f"criterion={self.criterion} says nothing of them; criterion=l1 takes any network")
        ranked = [torch.zeros(0) if one is None else one for one in scores]
        if self.scope == "layer":
            n_removed = [min(math.floor(self.ratio * len(one) + 0.5), max(0, len(one) - 1)) for one in ranked]
            return [_order(one)[:n] for one, n in zip(ranked, n_removed, strict=True)]
        return _lowest_of_all(ranked, [channels.n_together for channels in found], self.ratio)


def _by_set(channels: Channels, score: Score) -> Tensor | None:
    """Return the importance of each set of channels, (n_sets,), or None."""
    importance = score(channels)
    if importance is None:
        return None
    # A layer whose channels all are zero has no mean to be divided by: they go first.
    return importance.cpu().float().nan_to_num(0.0).reshape(channels.n_together, -1).mean(0)


def _lowest_of_all(scores: Sequence[Tensor], n_together: Sequence[int], ratio: float) -> list[list[int]]:
    """Return the sets that go when those of all layers are ranked together; each layer keeps one."""
    where = [(layer, number) for layer, one in enumerate(scores) for number in range(len(one))]
    n_left = sum(len(one) * times for one, times in zip(scores, n_together, strict=True))
    n_left = math.floor(ratio * n_left + 0.5)
    chosen: list[list[int]] = [[] for _ in scores]
    for position in _order(torch.cat(list(scores))):
        layer, number = where[position]
        if n_together[layer] <= n_left and len(chosen[layer]) < len(scores[layer]) - 1:
            chosen[layer].append(number)
            n_left -= n_together[layer]
    return chosen


def _order(scores: Tensor) -> list[int]:
    """Return the positions from the lowest score to the highest; of equal ones, the first first."""
    return torch.sort(scores, stable=True).indices.tolist()


def _set_gradients(network: nn.Module, context: Context) -> None:
    """Give every parameter the gradient of the mean loss over (some) training examples; those not in use, zero."""
    network.requires_grad_(True).to(context.device).eval()
    parameters = list(network.parameters())
    totals = [torch.zeros_like(parameter) for parameter in parameters]
    n_seen = 0
    for images, labels in context.data.batches(
        "train", side=context.side, batch_size=250, generator=context.generator()
    ):
        loss = F.cross_entropy(network(images.to(context.device)), labels.to(context.device), reduction="sum")
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        totals = [total + gradient for total, gradient in zip(totals, gradients, strict=True)]
        n_seen += len(labels)
        if n_seen >= N_SCORING_EXAMPLES:
            break
    for parameter, total in zip(parameters, totals, strict=True):
        parameter.grad = total / n_seen
    network.to("cpu")
