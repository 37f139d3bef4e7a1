"""Masks: what pruning imposes on a weight, fixed or closing while the network is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Mask(nn.Module):
    """Keep the weights where `mask` is True, hold the others at zero."""

    mask: Tensor
    settled: bool = True
    """Whether no training moves it any more."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask.bool())

    def forward(self, weight: Tensor) -> Tensor:
        """Return `weight` with its masked entries at zero (a positive one, where no gradient is asked for)."""
        if torch.is_grad_enabled() and weight.requires_grad:
            return weight * self.mask.to(weight.dtype)  # several times as quick as `where`, and its gradient, too
        return torch.where(self.mask, weight, 0.0)

    def settings(self) -> dict[str, Any]:
        """Return what `impose` needs to make the constraint again, beside its buffers."""
        return {"kind": "mask"}


class RampedMask(Mask):
    """A mask that closes step by step while the network is trained (Zhu & Gupta 2017, arXiv:1710.01878, section 3).

    As it is made it holds what it is given: a network that is not trained on is pruned at once. Where training begins
    it opens to the `n_start` best groups, and closes along n_kept + (n_start - n_kept) · (1 - t)³, where t goes from 0
    to 1 over the first `ramp` of the steps; every `every` steps the groups of largest mean magnitude are chosen anew.
    At t = 1 exactly `n_kept` are left, and the mask is settled: no later training moves it.

    dims: the dimensions over which a group of weights extends, () for single weights (see `weight_groups.group_dims`).
    regrow: a masked weight goes on being updated, by the gradient at the masked network (a straight-through estimate),
    and comes back when it has grown larger than others (dynamic network surgery, Guo et al. 2016, arXiv:1608.04493,
    section 3.2; ranks with an exact count stand here for the paper's two thresholds). Otherwise what was masked in this
    training stays so.
    """

    def __init__(
        self,
        mask: Tensor,
        *,
        n_start: int,
        n_kept: int,
        dims: Sequence[int],
        ramp: float,
        every: int,
        regrow: bool,
        settled: bool = False,
    ) -> None:
        super().__init__(mask)
        self.n_start = n_start
        self.n_kept = n_kept
        self.dims = tuple(dims)
        self.ramp = ramp
        self.every = every
        self.regrow = regrow
        self.settled = settled

    def forward(self, weight: Tensor) -> Tensor:
        """Return `weight` with its masked entries at zero; the gradient reaches those that may come back."""
        masked = super().forward(weight)
        if self.regrow and not self.settled and torch.is_grad_enabled() and weight.requires_grad:
            return masked.detach() + (weight - weight.detach())  # an exact zero: see `UniformQuantizer.forward`
        return masked

    def settings(self) -> dict[str, Any]:
        """Return what `impose` needs to make the constraint again, beside its buffers."""
        names = ("n_start", "n_kept", "ramp", "every", "regrow", "settled")
        return {"kind": "ramped", "dims": list(self.dims), **{name: getattr(self, name) for name in names}}

    def advance(self, weight: Tensor, step: int, n_steps: int, /) -> None:
        """Move the mask to where it stands before step `step` of `n_steps`, counted from 0; n_steps: after the last.

        weight: what the mask receives, of its own shape.
        """
        if self.settled or (step % self.every and step < n_steps):
            return
        progress = min(1.0, step / (self.ramp * n_steps))
        scores = pool(weight.detach().abs(), self.dims)
        if step and not self.regrow:
            scores = torch.where(pool(self.mask.float(), self.dims) > 0, scores, -math.inf)
        n_open = self.n_kept + round((self.n_start - self.n_kept) * (1 - progress) ** 3)
        self.mask.copy_(largest(scores, n_open).expand_as(self.mask))
        self.settled = progress == 1


def pool(scores: Tensor, dims: Sequence[int], /) -> Tensor:
    """Return the mean score of each group: the dimensions in `dims` shrink to 1."""
    return scores.mean(dim=tuple(dims), keepdim=True) if dims else scores


def largest(scores: Tensor, n_kept: int, /) -> Tensor:
    """Mark the `n_kept` largest scores, in their shape; of equal ones, those that come first."""
    if not 0 < n_kept < scores.numel():
        return torch.full_like(scores, n_kept > 0, dtype=torch.bool)
    flat = scores.flatten().nan_to_num(nan=math.inf, posinf=math.inf, neginf=-math.inf)
    least = flat.kthvalue(flat.numel() - n_kept + 1).values  # a quarter of the time of a sort
    mask = flat > least
    ties = (flat == least).nonzero().flatten()
    mask[ties[: n_kept - int(mask.sum())]] = True
    return mask.view_as(scores)
