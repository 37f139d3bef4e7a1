"""How important each weight is: what pruning ranks by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from effbench.compression.layers import weight_of

WeightCriterion = Literal["magnitude", "gradient", "random"]
SumGradients = Callable[[nn.Module, Callable[[], Sequence[Tensor]]], tuple[list[Tensor], int]]
"""As `effbench.training.gradients.sum_gradients`, of a network and its tensors."""


def score_weights(
    model: nn.Module,
    layers: Sequence[nn.Module],
    criterion: WeightCriterion,
    /,
    *,
    generator: torch.Generator,
    sum_gradients: SumGradients,
) -> list[Tensor]:
    """Return the importance of every weight of `layers` (of `model`), each in the weight's shape, on the CPU.

    `magnitude` is |w| (Han et al. 2015, arXiv:1506.02626), `gradient` |w · dL/dw| with the mean loss over training
    examples (Mozer & Smolensky 1989; Molchanov et al. 2016, arXiv:1611.06440, section 2.2), `random` the control.
    """
    if criterion == "random":
        return [torch.rand(weight_of(layer).shape, generator=generator) for layer in layers]
    if criterion == "magnitude":
        return [weight_of(layer).cpu().abs() for layer in layers]
    totals, n_seen = sum_gradients(model, lambda: [_weight(layer) for layer in layers])
    return [(weight_of(layer).cpu() * total / n_seen).abs() for layer, total in zip(layers, totals, strict=True)]


def _weight(layer: nn.Module) -> Tensor:
    """Return the weight as the forward pass has it, with its graph."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight
