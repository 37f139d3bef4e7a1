"""Pruning at a given share: the least important weights, kernels or rows become zero and stay zero."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from effbench.compression.constraints.copies import copy_network
from effbench.compression.constraints.masks import Mask, RampedMask, pool
from effbench.compression.constraints.stack import hold
from effbench.compression.layers import Weight, weights_of
from effbench.compression.weight_groups import Groups, GroupShape, classifier_among, group_dims, together
from effbench.plan.context import Context
from effbench.plan.stage import Stage
from effbench.training.importance import WeightCriterion, score_weights

Scope = Literal["global", "layer", "adaptive", "row"]
Schedule = Literal["at_once", "cubic"]


@dataclass(frozen=True, kw_only=True)
class Prune(Stage):
    """Set a share of the weights to zero and hold them there with a mask.

    Weights are those of convolutions, linear layers, attention and recurrent layers; a tied one counts once, and has
    its mask in all its places.

    criterion: what makes a weight important: `magnitude`, `gradient`, `activation` or `random` (see
    `training.importance`). scope: `global` ranks the weights of all layers together, `layer` removes the same share of
    each, `row` the same of each output of each (as Sun et al. 2023, arXiv:2306.11695, section 3, have it with
    `activation`), `adaptive` ranks together what each weight adds to those of its layer that are more important (see
    `adapted`).

    granularity: what goes together: `weight`, `kernel` or `row` (see `compression.weight_groups`), ranked by its mean
    importance. Of kernels and rows each layer keeps one at least, and with `row` the classifier (the last layer that
    has an output per class) keeps all of its own: the others give up so much more.

    schedule: `cubic` lets the mask close gradually in the training that follows (`constraints.masks.RampedMask`): how
    much each layer keeps is decided here, which weights while it trains. Where none follows it is as `at_once`.

    A layer that has a share of its own in `layers` is pruned to it by itself, whatever the scope.
    """

    VERSION: ClassVar[int] = 3
    LAYER_FIELD: ClassVar[str | None] = "ratio"

    ratio: Annotated[float, Field(ge=0, lt=1)]
    """Share of the weights that are zero afterwards; those that were zero before count."""
    criterion: WeightCriterion = "magnitude"
    examples: Annotated[int, Field(ge=1)] = 250
    """Of criterion=activation: training examples seen; all of them where there are fewer."""
    scope: Scope | None = None
    """None: `adaptive` with criterion=activation, as the inputs of layers are no more alike than their sizes; else
    `global`. Written out it is the same stage."""
    granularity: GroupShape = "weight"
    schedule: Schedule = "at_once"
    ramp: Annotated[float, Field(gt=0, le=1, description="a share of the training's steps")] = 0.6
    """Of `cubic`: the share of the next training's steps in which the mask closes."""
    every: Annotated[int, Field(ge=1, description="a number of steps")] = 10
    """Of `cubic`: the steps from one choice of what is masked to the next."""
    regrow: bool = False
    """Of `cubic`: while the mask closes, masked weights go on being updated and may come back."""
    ladder: Sequence[Annotated[float, Field(gt=0, lt=1)]] = field(default_factory=list)
    """Shares through which a recipe's rounds go on the way to `ratio`, ascending: a round for each that is below it,
    then the last. Runs at several ratios then share the rounds below. Empty: as many rounds as the recipe says, each
    removing the same share of what remains."""

    def __post_init__(self) -> None:
        """Refuse what can't be pruned to."""
        super().__post_init__()
        if self.scope == self._own_scope:
            object.__setattr__(self, "scope", None)
        if list(self.ladder) != sorted(set(self.ladder)):
            raise ValueError(f"ladder={list(self.ladder)}: must be ascending shares in (0, 1), as in [0.5,0.8,0.9]")
        if self.schedule == "cubic" and self.criterion != "magnitude":
            raise ValueError(f"criterion={self.criterion}: must be magnitude with schedule=cubic, which ranks by that")
        if self.regrow and self.schedule != "cubic":
            raise ValueError("regrow=true: must be false with schedule=at_once; schedule=cubic lets weights come back")
        if self.scope == "row" and self.schedule == "cubic":
            raise ValueError("scope=row: must be global, layer or adaptive with schedule=cubic, which ranks layers")
        if self.scope == "row" and self.granularity == "row":
            raise ValueError(
                "scope=row: must be global, layer or adaptive with granularity=row, which takes whole rows"
            )

    @property
    def _own_scope(self) -> Scope:
        return "adaptive" if self.criterion == "activation" else "global"

    @property
    def n_rounds(self) -> int | None:
        """How many rounds the ladder makes; None without one."""
        return sum(rung < self.ratio for rung in self.ladder) + 1 if self.ladder else None

    @property
    def most_rounds(self) -> int | None:
        """A round for each rung, and one for a share beyond the last."""
        return len(self.ladder) + 1 if self.ladder else None

    def value_after(self, position: int, n_rounds: int) -> float:
        """Return the share that is zero after a round."""
        return self.at_round(position, n_rounds).ratio if position else 0.0

    def at_round(self, position: int, n_rounds: int) -> Prune:
        """Return the stage for round `position` of `n_rounds`: see `ladder`. Layers' own shares grow alongside."""
        if self.ladder:
            rungs = [rung for rung in self.ladder if rung < self.ratio]
            reached = [*rungs, self.ratio][position - 1]
            if reached == self.ratio:
                return dataclasses.replace(self, ladder=[])
            grown = self.with_layer_values(lambda ratio: ratio * reached / self.ratio)
            return dataclasses.replace(grown, ratio=reached, ladder=[])
        return self.with_layer_values(lambda ratio: 1 - (1 - ratio) ** (position / n_rounds))

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` whose least important weights are masked.

        ValueError where so much can't be taken, because kernels or rows have to stay.
        """
        pruned = copy_network(model)
        ratios = self.values_by_weight(pruned, context)
        scores = score_weights(
            pruned,
            list(ratios),
            self.criterion,
            generator=context.generator(),
            sum_gradients=context.sum_gradients,
            input_norms=partial(context.input_norms, n_examples=self.examples),
        )
        groups = {weight: self._groups(weight, score) for weight, score in zip(ratios, scores, strict=True)}
        scope = self.scope or self._own_scope
        if scope == "adaptive":
            groups = {w: dataclasses.replace(group, scores=adapted(group.scores)) for w, group in groups.items()}
        if scope == "row":
            groups = {
                w: dataclasses.replace(group, scores=ranks_in_row(w, group.scores)) for w, group in groups.items()
            }
        alone = [weight for weight in ratios if self.has_own_value(weight)]
        shared = [weight for weight in ratios if weight not in alone]
        kept = {weight: self._choose_alone(groups[weight], ratios[weight]) for weight in alone}
        if shared:
            classifier = None
            if self.granularity == "row":
                classifier = classifier_among([w.module for w in shared], context.task.n_outputs(context.data))
            chosen = self._choose([groups[w] for w in shared], classifier)
            kept |= dict(zip(shared, chosen, strict=True))
        for weight in ratios:
            mask = self._mask(weight, kept[weight])
            for module, tensor_name in weight.places:
                hold(module, mask, tensor_name)
        if self.layers:
            context.findings.note(f"sparsity/{context.step}", sparsity(pruned))
        return pruned

    def _choose_alone(self, group: Groups, ratio: float) -> Tensor:
        """Return which groups of a layer stay that has a share of its own, in the shape of their scores."""
        n_kept = group.n_weights - math.floor(ratio * group.n_weights + 0.5)
        if group.n_fixed > n_kept:
            raise self._too_far(1 - group.n_fixed / group.n_weights)
        return group.best(n_kept)

    def _groups(self, weight: Weight, scores: Tensor) -> Groups:
        dims, values = group_dims(weight, self.granularity), weight.value().cpu()
        # The mean of random scores would tell large groups from small ones; the first is as random as any.
        pooled = (_first(scores, dims) if self.criterion == "random" else pool(scores, dims)).contiguous()
        if self.granularity == "weight":
            pooled[values == 0] = -math.inf  # what is zero already goes first
            return Groups(scores=pooled, n_weights=values.numel())
        n_nonzero = _count(values != 0, dims)
        pooled[n_nonzero == 0] = -math.inf
        pooled.view(-1)[pooled.argmax()] = math.inf  # nothing would come through a layer of zeros
        return Groups(scores=pooled, sizes=n_nonzero, n_weights=values.numel())

    def _choose(self, groups: Sequence[Groups], classifier: int | None) -> list[Tensor]:
        """Return which groups stay, layer by layer, in the shape of their scores."""
        if classifier is not None:
            groups[classifier].scores.fill_(math.inf)
        whole = together(groups)
        if self.scope not in ("layer", "row"):
            n_kept = whole.n_weights - math.floor(self.ratio * whole.n_weights + 0.5)
            if whole.n_fixed > n_kept:
                raise self._too_far(1 - whole.n_fixed / whole.n_weights)
            return whole.split(whole.best(n_kept), groups)
        n_open = whole.n_weights - (0 if classifier is None else groups[classifier].n_weights)
        if self.ratio * whole.n_weights > n_open:
            raise self._too_far(n_open / whole.n_weights)
        share = self.ratio * (whole.n_weights / max(1, n_open))
        return [group.best(group.n_weights - math.floor(share * group.n_weights + 0.5)) for group in groups]

    def _too_far(self, reachable: float) -> ValueError:
        return ValueError(
            f"ratio={self.ratio:g}: must be at most {reachable:.3g} with granularity={self.granularity} in this "
            "network, whose layers and classes have to stay; prune less, or in smaller groups"
        )

    def _mask(self, weight: Weight, kept: Tensor) -> Mask:
        values, dims = weight.value().cpu(), group_dims(weight, self.granularity)
        mask = kept.expand_as(values).clone()
        if self.schedule == "at_once":
            return Mask(mask)
        n_kept, n_alive = int(kept.sum()), int((_count(values != 0, dims) > 0).sum())
        return RampedMask(
            mask,
            n_start=max(n_kept, n_alive),
            n_kept=n_kept,
            dims=dims,
            ramp=self.ramp,
            every=self.every,
            regrow=self.regrow,
        )


def sparsity(model: nn.Module, /) -> float:
    """Return the share of the weights of convolutions, linear layers, attention and recurrent layers that are zero."""
    weights = [weight.value() for weight in weights_of(model)]
    return sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)


def adapted(scores: Tensor, /) -> Tensor:
    """Return s² / Σ t² over the scores t ≥ s of the same layer, float64, in the shape of `scores`.

    The layer-adaptive score of Lee et al. 2020 (arXiv:2010.07611, section 3): layers are compared by how much of what
    is left of each would go with a weight, whatever the scale of their weights, and no layer loses its last. Infinite
    scores (what stays, what is zero already) stay as they are.
    """
    flat = scores.double().flatten()
    order = torch.sort(flat, descending=True, stable=True).indices
    squares = torch.where(flat.isfinite(), flat, 0.0).square()[order]
    shares = torch.empty_like(flat)
    shares[order] = (squares / squares.cumsum(0)).nan_to_num(0.0)
    return torch.where(flat.isfinite(), shares, flat).view(scores.shape)


def ranks_in_row(weight: Weight, scores: Tensor, /) -> Tensor:
    """Return each score's rank among those of its output, from 0, the lowest, to below 1, in the shape of `scores`.

    Ranked so, a share of a layer is that share of each of its rows, to within one weight. Infinite scores stay.
    """
    dims = group_dims(weight, "row")
    others = [d for d in range(scores.ndim) if d not in dims]
    rows = scores.permute(*others, *dims).flatten(0, len(others) - 1).flatten(1)
    ranks = rows.argsort(dim=1, stable=True).argsort(dim=1, stable=True).double() / rows.shape[1]
    order = [scores.shape[d] for d in (*others, *dims)]
    back = torch.tensor([*others, *dims]).argsort().tolist()
    ranked = ranks.reshape(order).permute(*back).contiguous()
    return torch.where(scores.isfinite(), ranked, scores.double())


def _count(marks: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Return how many marks each group has: the dimensions in `dims` shrink to 1."""
    return marks.sum(dim=dims, keepdim=True) if dims else marks.long()


def _first(scores: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Return the first score of each group: the dimensions in `dims` shrink to 1."""
    return scores[tuple(slice(1) if d in dims else slice(None) for d in range(scores.ndim))].clone()
