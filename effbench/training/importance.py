"""How important each weight is: what pruning ranks by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from effbench.plan.stage import Context

Criterion = Literal["magnitude", "gradient", "random"]
N_SCORING_EXAMPLES = 1_000


def score_weights(
    model: nn.Module, layers: Sequence[nn.Module], criterion: Criterion, context: Context, /
) -> list[Tensor]:
    """Return the importance of every weight of `layers` (of `model`), each in the weight's shape, on the CPU.

    `magnitude` is |w| (Han et al. 2015, arXiv:1506.02626), `gradient` |w · dL/dw| with the mean loss over training
    examples (Mozer & Smolensky 1989; Molchanov et al. 2016, arXiv:1611.06440, section 2.2), `random` the control.
    """
    generator = context.generator()
    if criterion == "random":
        return [torch.rand(weight_in_use(layer).shape, generator=generator) for layer in layers]
    if criterion == "magnitude":
        return [weight_in_use(layer).abs() for layer in layers]
    return _gradient_times_weight(model, layers, context, generator)


def weight_in_use(layer: nn.Module, /) -> Tensor:
    """Return the weight as it is after its constraints, on the CPU."""
    return _weight(layer).detach().cpu()


def _gradient_times_weight(
    model: nn.Module, layers: Sequence[nn.Module], context: Context, generator: torch.Generator
) -> list[Tensor]:
    """Return |w · dL/dw| of each layer, with the gradient of the mean loss over (some) training examples."""
    totals = [torch.zeros_like(weight_in_use(layer)) for layer in layers]
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
    return [(weight_in_use(layer) * total / n_seen).abs() for layer, total in zip(layers, totals, strict=True)]


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight
