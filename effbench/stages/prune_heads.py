"""Structured pruning of attention: whole heads are removed, and the network computes less."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from effbench.checks.text import few_names
from effbench.compression.constraints.stack import bake
from effbench.compression.duplicate import duplicate
from effbench.compression.layers import weights_of
from effbench.compression.structure.attention_heads import Heads, n_heads_made_with
from effbench.compression.structure.head_removal import attention_layers, remove_heads
from effbench.plan.context import Context
from effbench.plan.layer_values import assign
from effbench.plan.stage import Stage
from effbench.training.head_importance import HeadCriterion, gate_gradients, norms_of_heads


@dataclass(frozen=True, kw_only=True)
class PruneHeads(Stage):
    """Remove the least important attention heads of each layer, physically (Michel et al. 2019, arXiv:1905.10650).

    With a head go its rows of queries, keys and values, its columns of the projection and its entries in tables of
    relative positions. The share is of the heads that a layer was made with, to the nearest whole number; one head
    stays. Attention is known of `small_vit`, torchvision's ViT and Swin (V2, too), `nn.MultiheadAttention`, and of
    timm's and transformers' networks where it has separate linear layers and takes its sizes from its attributes. The
    removal is checked: the network computes what it did with zeros in the place of the heads, before the projection.
    Layers that can't lose heads stay whole: the table `heads_kept_whole` says why. The table `removed_heads` says which
    went, removed_share/<step> what share that is of all heads, acted_share/<step> on which share of the network's
    weights that acts: those of attention. Constraints that the network has already (masks, quantisers) are made
    permanent values first, as in `prune_channels`.

    criterion: `gradient`, |d loss / d gate| of each head's gate, summed over training examples (section 4.1); `norm`,
    the l2 norm of the head's weights; `random`, the control. `layers` has patterns of the names of attention layers.
    """

    VERSION: ClassVar[int] = 1
    LAYER_FIELD: ClassVar[str | None] = "ratio"
    ACTS_ON_MODULES: ClassVar[bool] = True

    ratio: Annotated[float, Field(ge=0, lt=1)]
    """Share of each layer's heads that is removed."""
    criterion: HeadCriterion = "gradient"

    def value_after(self, position: int, n_rounds: int) -> float:
        """Return the share that is removed after a round: each takes the same share of what is left."""
        return float(1 - (1 - self.ratio) ** (position / n_rounds))

    def at_round(self, position: int, n_rounds: int) -> PruneHeads:
        """Return the stage for one of `n_rounds`: it removes what is not removed yet of the share after it."""
        return self.with_layer_values(lambda ratio: 1 - (1 - ratio) ** (position / n_rounds))

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` with fewer heads. ValueError, with its name, where it can't lose any."""
        if self.ratio == 0 and not self.layers:
            return duplicate(model)
        self.for_network(model, context.example())
        pruned = bake(model)
        layers, unknown = attention_layers(pruned)
        ratios = assign(self.layers, list(layers), default=self.ratio)
        wanted = {path: _n_going(layers[path], ratio) for path, ratio in ratios.items()}
        importance = self._importance({path: layers[path] for path, n in wanted.items() if n}, pruned, context)
        going = {path: scores.argsort(stable=True)[: wanted[path]] for path, scores in importance.items()}
        kept = dict.fromkeys(set(path for path, n in wanted.items() if n) - set(going), _NOT_CALLED)
        kept |= remove_heads(pruned, context.example(), going)
        if kept and len(kept) == sum(n > 0 for n in wanted.values()):
            raise ValueError(f"prune_heads: {type(model).__name__} can't lose heads: {next(iter(kept.values()))}")
        self._say(layers, {path: heads for path, heads in going.items() if path not in kept}, context)
        _say_kept(unknown | kept, context)
        acted = [weight.name for weight in weights_of(model) if _within(weight.name, set(ratios) - set(kept))]
        self.say_share(acted, model, context)
        return pruned

    def for_network(self, network: nn.Module, images: Tensor, /) -> PruneHeads:
        """Return the stage. ValueError, in one line, for a network without attention of a known form."""
        layers, unknown = attention_layers(network)
        if not layers and (self.ratio or self.layers):
            named = "".join(f"; {path}: {why}" for path, why in list(unknown.items())[:3])
            raise ValueError(
                f"prune_heads: {type(network).__name__} has no attention whose heads can be removed, as vision "
                f"transformers have{named}"
            )
        return self

    def _importance(self, layers: Mapping[str, Heads], network: nn.Module, context: Context) -> dict[str, Tensor]:
        """Return the importance of the heads of each layer, (heads,); none for layers that it says nothing of."""
        if self.criterion == "norm":
            return {path: norms_of_heads(heads) for path, heads in layers.items()}
        generator = context.generator()
        if self.criterion == "random":
            return {path: torch.rand(heads.n, generator=generator) for path, heads in layers.items()}
        if not layers:
            return {}
        importance, _ = gate_gradients(
            network,
            list(layers),
            context.data,
            task=context.task,
            side=context.side,
            device=context.device,
            generator=generator,
        )
        return importance

    def _say(self, layers: Mapping[str, Heads], going: Mapping[str, Tensor], context: Context) -> None:
        """Note what share of all heads is gone now, and which went: numbers as they were before."""
        n_made = {path: n_heads_made_with(heads.attention) for path, heads in layers.items()}
        n_left = {path: heads.n - len(going.get(path, ())) for path, heads in layers.items()}
        share = 1 - sum(n_left.values()) / sum(n_made.values())
        context.findings.note(f"removed_share/{context.step}", share)
        if not self.layers and abs(share - self.ratio) > _EXACT:
            context.findings.say(f"removed/{context.step}", f"{100 * share:.0f} % of the attention heads")
        rows: list[dict[str, str | int]] = [
            {"layer": path, "removed": " ".join(map(str, sorted(heads.tolist()))), "left": n_left[path]}
            for path, heads in going.items()
        ]
        _, _, occurrence = context.step.partition("/")
        context.findings.add_table(f"removed_heads_{occurrence}" if occurrence else "removed_heads", rows)


_EXACT = 1e-9
_NOT_CALLED = "the network does not call it on every batch, or not its projection"


def _n_going(heads: Heads, ratio: float) -> int:
    """Return how many heads of a layer are to go now: the share, rounded half up, less what is gone; one stays."""
    n_made = n_heads_made_with(heads.attention)
    return min(heads.n - 1, max(0, math.floor(ratio * n_made + 0.5) - (n_made - heads.n)))


def _say_kept(kept: Mapping[str, str], context: Context) -> None:
    """Note which layers stay whole, and why."""
    if kept:
        context.findings.say(f"whole/{context.step}", few_names(list(kept)))
        context.findings.add_table("heads_kept_whole", [{"layer": path, "reason": why} for path, why in kept.items()])


def _within(name: str, paths: set[str]) -> bool:
    return any(name.startswith(f"{path}.") for path in paths)
