"""Unstructured pruning: the least important weights become zero and stay zero."""

from __future__ import annotations

import copy
import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from effbench.constraints import Mask, constraints_on, weight_layers
from effbench.recipe import Context

Criterion = Literal["magnitude", "gradient", "random"]
N_SCORING_EXAMPLES = 1_000


@dataclass(frozen=True, kw_only=True)
class Prune:
    """Set a share of the convolution and linear weights to zero and hold them there with a mask.

    criterion: what makes a weight important: `magnitude` |w| (Han et al. 2015, arXiv:1506.02626), `gradient`
    |w · dL/dw| on training examples (Mozer & Smolensky 1989; Molchanov et al. 2016, arXiv:1611.06440, section 2.2), or
    `random`, the control. scope: `global` ranks the weights of all layers together, `layer` removes the same share of
    each.
    """

    VERSION: ClassVar[int] = 1

    ratio: float
    """Share of the weights that are zero afterwards, in [0, 1); those that were zero before count."""
    criterion: Criterion = "magnitude"
    scope: Literal["global", "layer"] = "global"

    def __post_init__(self) -> None:
        """Refuse what can't be pruned to."""
        if not 0 <= self.ratio < 1:
            raise ValueError(f"ratio={self.ratio}: must be in [0, 1)")
        if self.criterion not in ("magnitude", "gradient", "random"):
            raise ValueError(f"criterion={self.criterion}: must be magnitude, gradient or random")
        if self.scope not in ("global", "layer"):
            raise ValueError(f"scope={self.scope}: must be global or layer")

    def at_round(self, position: int, n_rounds: int) -> Prune:
        """Return the stage for round `position` of `n_rounds`: each round removes the same share of what remains."""
        return dataclasses.replace(self, ratio=1 - (1 - self.ratio) ** (position / n_rounds))

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` whose least important weights are masked."""
        pruned = copy.deepcopy(model)
        layers = [layer for _, layer in weight_layers(pruned)]
        scores = self._scores(pruned, layers, context)
        for layer, score in zip(layers, scores, strict=True):
            score[_value(layer) == 0] = -math.inf  # what is zero already goes first
        if self.scope == "layer":
            kept = [_largest(score, self._n_kept(score.numel())) for score in scores]
        else:
            flat = torch.cat([score.flatten() for score in scores])
            mask = _largest(flat, self._n_kept(len(flat)))
            kept = [
                part.view_as(s) for part, s in zip(torch.split(mask, [s.numel() for s in scores]), scores, strict=True)
            ]
        for layer, mask in zip(layers, kept, strict=True):
            _constrain(layer, mask)
        return pruned

    def _n_kept(self, n_weights: int) -> int:
        return n_weights - math.floor(self.ratio * n_weights + 0.5)

    def _scores(self, model: nn.Module, layers: list[nn.Module], context: Context) -> list[Tensor]:
        generator = context.generator()
        if self.criterion == "random":
            return [torch.rand(_value(layer).shape, generator=generator) for layer in layers]
        if self.criterion == "magnitude":
            return [_value(layer).abs() for layer in layers]
        return _gradient_times_weight(model, layers, context, generator)


def _gradient_times_weight(
    model: nn.Module, layers: list[nn.Module], context: Context, generator: torch.Generator
) -> list[Tensor]:
    """Return |w · dL/dw| of each layer, with the gradient of the mean loss over (some) training examples."""
    totals = [torch.zeros_like(_value(layer)) for layer in layers]
    n_seen = 0
    model.to(context.device).eval()
    for images, labels in context.data.batches("train", side=context.side, batch_size=250, generator=generator):
        with parametrize.cached():  # so that the weight that was used is the one that is asked for
            loss = F.cross_entropy(model(images.to(context.device)), labels.to(context.device), reduction="sum")
            weights = [_weight(layer) for layer in layers]
            # A layer that this network does not run (an auxiliary head) has the gradient zero.
            gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
        totals = [total + gradient.cpu() for total, gradient in zip(totals, gradients, strict=True)]
        n_seen += len(labels)
        if n_seen >= N_SCORING_EXAMPLES:
            break
    model.to("cpu")
    return [(_value(layer) * total / n_seen).abs() for layer, total in zip(layers, totals, strict=True)]


def _value(layer: nn.Module) -> Tensor:
    """Return the weight as it is in use, after its constraints."""
    return _weight(layer).detach().cpu()


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


def _largest(scores: Tensor, n_kept: int) -> Tensor:
    """Mark the `n_kept` largest scores; of equal ones, those that come first."""
    order = torch.sort(scores.flatten(), descending=True, stable=True).indices
    mask = torch.zeros(scores.numel(), dtype=torch.bool)
    mask[order[:n_kept]] = True
    return mask.view_as(scores)


def _constrain(layer: nn.Module, mask: Tensor) -> None:
    """Hold the weight to `mask`: tighten the mask that is there, or register one."""
    earlier = next((c for c in constraints_on(layer, "weight") if isinstance(c, Mask)), None)
    if earlier is not None:
        earlier.mask &= mask.to(earlier.mask.device)
        return
    parametrize.register_parametrization(layer, "weight", Mask(mask.to(_weight(layer).device)))
