"""How important each weight is: what pruning ranks by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from effbench.checks.text import few_names
from effbench.compression.constraints.stack import Place, constraints_on
from effbench.compression.layers import Weight

WeightCriterion = Literal["magnitude", "gradient", "activation", "random"]
SumGradients = Callable[[nn.Module, Callable[[], Sequence[Tensor]]], tuple[list[Tensor], int]]
"""As `effbench.training.gradients.sum_gradients`, of a network and its tensors."""
InputNorms = Callable[[nn.Module, Sequence[Weight]], Mapping[str, Tensor]]
"""As `effbench.training.input_moments.input_norms`, of a network and its weights."""


def score_weights(
    model: nn.Module,
    weights: Sequence[Weight],
    criterion: WeightCriterion,
    /,
    *,
    generator: torch.Generator,
    sum_gradients: SumGradients,
    input_norms: InputNorms,
) -> list[Tensor]:
    """Return the importance of every number of `weights` (of `model`), each in the weight's shape, on the CPU.

    `magnitude` is |w| (Han et al. 2015, arXiv:1506.02626), `gradient` |w · dL/dw| with the mean loss over training
    examples (Mozer & Smolensky 1989; Molchanov et al. 2016, arXiv:1611.06440, section 2.2), of a tied weight over all
    its uses, `activation` |w| · ||x||₂ with what the weight is multiplied with (Sun et al. 2023, arXiv:2306.11695,
    section 3), of a tied one in all its places, `random` the control. ValueError, with their names, for weights whose
    inputs are not seen.
    """
    if criterion == "random":
        return [torch.rand(weight.value().shape, generator=generator) for weight in weights]
    if criterion == "magnitude":
        return [weight.value().cpu().abs() for weight in weights]
    if criterion == "activation":
        norms = input_norms(model, weights)
        unseen = [weight.name for weight in weights if weight.name not in norms]
        if unseen:
            raise ValueError(
                f"criterion=activation: what {few_names(unseen)} is multiplied with is not seen while the network runs "
                "(layers that it does not call, packed sequences, parts of attention's weights); have such layers "
                "skipped by layers=, or give criterion=magnitude"
            )
        return [weight.value().cpu().abs() * norms[weight.name] for weight in weights]
    places = [place for weight in weights for place in _different_tensors(weight)]
    gradients, n_seen = sum_gradients(model, lambda: [getattr(module, name) for module, name in places])
    remaining = iter(gradients)
    totals = [sum(next(remaining) for _ in _different_tensors(weight)) for weight in weights]
    return [(weight.value().cpu() * total / n_seen).abs() for weight, total in zip(weights, totals, strict=True)]


def _different_tensors(weight: Weight) -> Sequence[Place]:
    """Return the places where the forward pass has a tensor of its own: all, where constraints make one in each."""
    return weight.places if constraints_on(*weight.places[0]) else weight.places[:1]
