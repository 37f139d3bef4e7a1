"""Structured pruning: whole channels are removed, and the network computes less."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from effbench.checks.patterns import matches
from effbench.checks.text import few_names
from effbench.compression.constraints.stack import bake
from effbench.compression.duplicate import duplicate
from effbench.compression.layers import weight_of
from effbench.compression.modes import all_trainable, evaluating
from effbench.compression.structure.channel_groups import Channels
from effbench.compression.structure.channels import Removal, remove_channels
from effbench.compression.structure.edits import record_changes
from effbench.plan.context import Context
from effbench.plan.layer_values import SKIP
from effbench.plan.stage import Stage

ChannelCriterion = Literal["l1", "l2", "batch_norm", "taylor", "random"]
Score = Callable[[Channels], Tensor | None]


@dataclass(frozen=True, kw_only=True)
class PruneChannels(Stage):
    """Remove the least important output channels of convolutions and neurons of linear layers, physically.

    What depends on a channel goes with it (the inputs of the next layer, its batch norm, the depthwise kernel, the same
    channel across a residual sum, the other half of a gate: a dependency graph as in Fang et al. 2023,
    arXiv:2301.12900); importance is taken over all that goes, by Torch-Pruning's criteria. So do channels that a
    shuffle deals out between grouped convolutions (ShuffleNet: arXiv:1707.01083), where every group keeps as many
    inputs as the others: the share is the nearest that the groups allow. The network's outputs stay, and so do channels
    that something takes which can't be followed or made smaller (attention, slices at written places, bare parameters).
    A removal is checked against the network in which nothing reads the channels; where it does not come to the same,
    they stay, too. The run has the metric removed_share/<step>, of the channels that can go, and where layers stay
    whole the table `kept_whole`, which says why, and acted_share/<step>, of the weights in the others. Constraints that
    the network has already (masks, quantisers) are made permanent values first: their places and grids belong to
    tensors that are no more; a later stage of the recipe can impose them anew.

    criterion: `l1` or `l2` norm of the weights (after Li et al. 2016, arXiv:1608.08710, section 3.1, who take the l1 of
    the filter alone), `batch_norm` scale (Liu et al. 2017, arXiv:1708.06519; channels without one stay), `taylor`:
    |w · dL/dw| on training examples (Molchanov et al. 2019, arXiv:1906.10771), `random`, the control. scope: `layer`
    removes the same share of each layer, `global` ranks the channels of all layers, each layer's importance divided by
    its mean. No layer loses its last channel. A layer with a share of its own in `layers` gives it to all channels that
    must keep as many as its own; of several such layers the first pattern counts, and a skipped one keeps them all.
    """

    VERSION: ClassVar[int] = 3
    LAYER_FIELD: ClassVar[str | None] = "ratio"

    ratio: Annotated[float, Field(ge=0, lt=1)]
    """Share of the removable output channels that is removed."""
    criterion: ChannelCriterion = "l1"
    scope: Literal["global", "layer"] = "layer"

    def value_after(self, position: int, n_rounds: int) -> float:
        """Return the share that is removed after a round."""
        return float(1 - (1 - self.ratio) ** (position / n_rounds))

    def at_round(self, position: int, n_rounds: int) -> PruneChannels:
        """Return the stage for one of `n_rounds`: each removes the same share of the channels that are left."""
        return self.with_layer_values(lambda ratio: 1 - (1 - ratio) ** (1 / n_rounds))

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` with fewer channels. ValueError, with its name, where it can't lose any."""
        before = bake(model)
        names = self.values_by_layer(before, context)
        if self.ratio == 0 and not self.layers:
            return duplicate(model)
        pruned = duplicate(before)
        images = next(context.data.batches("train", side=context.side, batch_size=2))[0]
        with evaluating(pruned), all_trainable(pruned):  # gradients are for scoring only
            if self.criterion == "taylor":
                _set_gradients(pruned, context)
            try:
                removal = remove_channels(
                    pruned, images, lambda removable: self._choose(removable, self._score(context))
                )
                record_changes(before, pruned)
            except ValueError as error:
                raise ValueError(f"prune_channels: {type(model).__name__} can't lose channels: {error}") from error
        _say(removal, before, list(names), context)
        n_channels = sum(channels.n for channels in removal.removable)
        if not self.layers and abs(removal.share - self.ratio) * n_channels > len(removal.removable):
            context.findings.say(f"removed/{context.step}", f"{100 * removal.share:.0f} % of the channels that can go")
        return pruned

    def _score(self, context: Context) -> Score:
        """Return what gives channels their importance, (n_channels,), or None where it has nothing to say."""
        import torch_pruning

        if self.criterion == "random":
            generator = context.generator()
            return lambda channels: torch.rand(channels.n, generator=generator)
        score: Callable[[list[Any]], Tensor | None] = {
            "l1": lambda: torch_pruning.importance.GroupMagnitudeImportance(p=1),
            "l2": lambda: torch_pruning.importance.GroupMagnitudeImportance(p=2),
            "batch_norm": torch_pruning.importance.BNScaleImportance,
            "taylor": torch_pruning.importance.GroupTaylorImportance,
        }[self.criterion]()
        return lambda channels: score(channels.group)

    def _choose(self, removable: Sequence[Channels], score: Score) -> list[Tensor]:
        """Return, for each of the removable channels, those that go."""
        ranked = [_ranked(channels, score) for channels in removable]
        if all(sets is None for sets in ranked):
            raise ValueError(f"criterion={self.criterion} says nothing of them; criterion=l1 takes any network")
        sets = [known or [] for known in ranked]
        own = [self._own_ratio(channels) for channels in removable]
        n_removed = [
            _nearest(known, (self.ratio if ratio is None else ratio) * channels.n)
            for known, ratio, channels in zip(sets, own, removable, strict=True)
        ]
        if self.scope == "global":
            shared = [number for number, ratio in enumerate(own) if ratio is None]
            wanted = self.ratio * sum(removable[number].n for number in shared)
            for number, n in zip(shared, _lowest_of_all([sets[number] for number in shared], wanted), strict=True):
                n_removed[number] = n
        return [_joined(known[:n]) for known, n in zip(sets, n_removed, strict=True)]

    def _own_ratio(self, channels: Channels) -> float | None:
        """Return the share of their own that the layers which make these channels have; None without one."""
        layers = {channels.layer, *channels.makers}
        patterns = list(enumerate(self.layers.items()))
        firsts = [next(((n, value) for n, (p, value) in patterns if matches(p, layer)), None) for layer in layers]
        values = [first for first in firsts if first is not None]
        if any(value == SKIP for _, value in values):
            return 0.0
        return min(values)[1] if values else None


def _say(removal: Removal, before: nn.Module, names: Sequence[str], context: Context) -> None:
    """Note which share of the channels went, and which layers stay whole, with the share of weights in the others.

    names: of the layers that the stage was to act on, as they are in `before`.
    """
    context.findings.note(f"removed_share/{context.step}", removal.share)
    if removal.kept:
        sizes = {name: weight_of(before.get_submodule(name)).numel() for name in names}
        left = sum(size for name, size in sizes.items() if name in removal.kept)
        acted = f"acted_share/{context.step}"
        context.findings.note(acted, context.findings.metrics.get(acted, 1.0) * (1 - left / sum(sizes.values())))
        others = context.findings.words.get(f"left/{context.step}")
        context.findings.say(f"left/{context.step}", ", ".join(filter(None, [few_names(list(removal.kept)), others])))
        context.findings.add_table(
            "kept_whole", [{"layer": layer, "reason": reason} for layer, reason in removal.kept.items()]
        )


Ranked = list[tuple[float, Tensor]]
"""Sets of channels in the order in which they can go, each with its importance, which never falls."""


def _ranked(channels: Channels, score: Score) -> Ranked | None:
    """Return the sets in which channels can go; None where the criterion says nothing of them."""
    importance = score(channels)
    if importance is None:
        return None
    # A layer whose channels all are zero has no mean to be divided by: they go first.
    importance = importance.detach().cpu().float().nan_to_num(0.0)
    ranked: Ranked = []
    for going in channels.removals(importance):
        ranked.append((max(float(importance[going].mean()), ranked[-1][0] if ranked else -math.inf), going))
    return ranked


def _nearest(sets: Ranked, wanted: float) -> int:
    """Return of how many sets the channels are nearest to so many; of equally near numbers, the larger."""
    totals = [0, *itertools.accumulate(len(going) for _, going in sets)]
    return min(range(len(totals)), key=lambda number: (abs(totals[number] - wanted), -number))


def _lowest_of_all(sets: Sequence[Ranked], wanted: float) -> list[int]:
    """Return how many sets of each layer go when those of all layers are ranked together."""
    everywhere = [(importance, layer, going) for layer, known in enumerate(sets) for importance, going in known]
    n_left = math.floor(wanted + 0.5)
    n_removed = [0] * len(sets)
    full: set[int] = set()
    for _, layer, going in sorted(everywhere, key=lambda entry: entry[0]):  # stable: of equal ones, the first first
        if len(going) > n_left:
            full.add(layer)  # what comes after can only go after it
        elif layer not in full:
            n_removed[layer] += 1
            n_left -= len(going)
    return n_removed


def _joined(sets: Ranked) -> Tensor:
    """Return the channels of some sets, int64."""
    return torch.cat([going for _, going in sets]) if sets else torch.zeros(0, dtype=torch.int64)


def _set_gradients(network: nn.Module, context: Context) -> None:
    """Give every parameter that can have it the gradient of the mean loss over (some) training examples.

    Of one that is not in use that is zero.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    totals, n_seen = context.sum_gradients(network, lambda: parameters)
    for parameter, total in zip(parameters, totals, strict=True):
        parameter.grad = total / n_seen
