"""What is removed together: single weights, kernels, rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from effbench.compression.constraints.masks import largest
from effbench.compression.layers import Weight

GroupShape = Literal["weight", "kernel", "row"]


@dataclass(frozen=True, kw_only=True)
class Groups:
    """The groups of one layer, or of several, as pruning ranks them.

    scores: how important each group is; infinity for one that has to stay. sizes: how many weights its removal takes,
    int64, of the same shape; None where each is a single weight. n_weights: how many weights there are.
    """

    scores: Tensor
    sizes: Tensor | None = None
    n_weights: int

    @property
    def n_fixed(self) -> int:
        """How many weights are in groups that have to stay."""
        fixed = self.scores == math.inf
        return int(fixed.sum() if self.sizes is None else self.sizes[fixed].sum())

    def best(self, n_kept: int) -> Tensor:
        """Mark the most important groups, in the shape of the scores, which hold as nearly `n_kept` weights as can be.

        Groups that have to stay do so; of equally important ones those stay that come first.
        """
        if self.sizes is None:  # there are as many groups as weights: no sort, and a fraction of the memory
            return largest(self.scores, max(min(n_kept, self.scores.numel()), self.n_fixed))
        order = torch.sort(self.scores.flatten(), descending=True, stable=True).indices
        n_so_far = torch.cat([torch.zeros(1, dtype=torch.long), self.sizes.flatten()[order].cumsum(0)])
        n_groups = int((n_so_far - n_kept).abs().argmin())
        return largest(self.scores, max(n_groups, int((self.scores == math.inf).sum())))

    def split(self, marks: Tensor, parts: Sequence[Groups]) -> list[Tensor]:
        """Return the marks of the `parts` that `together` joined, each in the shape of its scores."""
        pieces = torch.split(marks, [part.scores.numel() for part in parts])
        return [piece.view_as(part.scores) for piece, part in zip(pieces, parts, strict=True)]


def together(parts: Sequence[Groups], /) -> Groups:
    """Return the groups of several layers as one flat set."""
    sizes = [part.sizes.flatten() for part in parts if part.sizes is not None]
    assert len(sizes) in (0, len(parts)), "all are single weights, or none are"
    return Groups(
        scores=torch.cat([part.scores.flatten() for part in parts]),
        sizes=torch.cat(sizes) if sizes else None,
        n_weights=sum(part.n_weights for part in parts),
    )


def group_dims(weight: Weight, granularity: GroupShape, /) -> tuple[int, ...]:
    """Return the dimensions of a weight over which a group extends; () for single weights.

    The granularities of Mao et al. 2017 (arXiv:1705.08922, section 3): `kernel` is the slice that joins one input to
    one output channel (3 x 3 weights, say; a single weight in a linear layer), `row` all weights of one output: a
    neuron, a filter, a gate of a recurrent unit. In a transposed convolution with groups, the filters of one number in
    all groups are one row.
    """
    kernel = tuple(range(2, weight.value().ndim))
    if granularity == "weight":
        return ()
    if granularity == "kernel":
        return kernel
    return ((0,) if isinstance(weight.module, _ConvTransposeNd) else (1,)) + kernel


def classifier_among(layers: Sequence[nn.Module], n_classes: int, /) -> int | None:
    """Return the number of the last layer that has an output per class; None where no layer has."""
    outputs = [getattr(layer, "out_features", getattr(layer, "out_channels", None)) for layer in layers]
    return next((number for number in reversed(range(len(layers))) if outputs[number] == n_classes), None)
