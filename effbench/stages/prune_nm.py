"""N:M sparsity: of every M consecutive inputs of an output, at most N have a weight."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from effbench.compression.constraints.copies import copy_network
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.stack import hold
from effbench.plan.context import Context
from effbench.plan.stage import Stage
from effbench.training.importance import WeightCriterion, score_weights


@dataclass(frozen=True, kw_only=True)
class PruneNM(Stage):
    """Keep N of every M consecutive weights along the input dimension, and mask the others (N:M sparsity).

    2:4 is what sparse tensor cores run (Mishra et al. 2021, arXiv:2104.08378, section 3); other patterns: Zhou et al.
    2021, arXiv:2102.04010. The input dimension is that of features in a linear layer (so in attention's projections
    and recurrent layers), of input channels in a convolution, one position of the kernel at a time, as in NVIDIA's ASP.
    Where M does not divide it, its last group is filled up with zeros, as an engine does: of the r weights there
    min(N, r) stay. So layers with at most N inputs (depthwise convolutions, the first layer on grey images) lose
    nothing.
    """

    VERSION: ClassVar[int] = 3
    LAYER_FIELD: ClassVar[str | None] = "pattern"

    pattern: str
    """"N:M" with 1 <= N < M."""
    criterion: WeightCriterion = "magnitude"
    """What makes a weight important: see `training.importance`."""
    examples: Annotated[int, Field(ge=1)] = 250
    """Of criterion=activation: training examples seen; all of them where there are fewer."""

    def __post_init__(self) -> None:
        """Refuse what is no pattern."""
        super().__post_init__()
        found = re.fullmatch(r"([1-9]\d{0,3}):([1-9]\d{0,3})", self.pattern)
        if found is None or int(found[1]) >= int(found[2]):
            raise ValueError(f"pattern={self.pattern}: must be N:M, fewer kept (N) than there are (M), such as 2:4")

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` whose weights have the pattern."""
        pruned = copy_network(model)
        patterns = self.values_by_weight(pruned, context)
        importance = score_weights(
            pruned,
            list(patterns),
            self.criterion,
            generator=context.generator(),
            sum_gradients=context.sum_gradients,
            input_norms=partial(context.input_norms, n_examples=self.examples),
        )
        for weight, scores in zip(patterns, importance, strict=True):
            n_kept, n_group = map(int, patterns[weight].split(":"))
            scores[weight.value().cpu() == 0] = -math.inf  # what is zero already goes first
            mask = Mask(_layer_mask(weight.module, scores, n_kept, n_group))
            for module, tensor_name in weight.places:
                hold(module, mask, tensor_name)
        return pruned


def _layer_mask(layer: nn.Module, scores: Tensor, n_kept: int, n_group: int) -> Tensor:
    if not isinstance(layer, _ConvTransposeNd):
        return nm_mask(scores, n_kept=n_kept, n_group=n_group, dim=1)
    # (n_in, n_out / groups, ...): a group of the convolution has inputs of its own.
    by_group = scores.reshape(layer.groups, -1, *scores.shape[1:])
    return nm_mask(by_group, n_kept=n_kept, n_group=n_group, dim=1).flatten(0, 1)


def nm_mask(scores: Tensor, /, *, n_kept: int, n_group: int, dim: int) -> Tensor:
    """Mark the `n_kept` largest of every `n_group` consecutive scores along `dim`; of equal ones the first.

    scores: any shape. Returns bool of that shape. A last group of r < n_group scores has min(n_kept, r) marks.

    >>> import torch
    >>> nm_mask(torch.tensor([[1.0, 4.0, 3.0, 2.0, 5.0]]), n_kept=2, n_group=4, dim=1).int().tolist()
    [[0, 1, 1, 0, 1]]
    """
    rows = scores.movedim(dim, -1)
    n_inputs = rows.shape[-1]
    padded = F.pad(rows, (0, -n_inputs % n_group), value=-math.inf)
    groups = padded.reshape(*rows.shape[:-1], -1, n_group)
    marks = groups.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1) < n_kept
    return marks.reshape(padded.shape)[..., :n_inputs].movedim(-1, dim).contiguous()
