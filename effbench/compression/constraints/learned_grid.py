"""A grid whose step is trained with the weights on it: what is trained against the length of the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.quantizer import QuantizedTensor, UniformQuantizer
from effbench.compression.constraints.stack import Place, constraints_on

CLOSED_AT = 0.8
"""The share of a training after which the length is what is wanted; from then on weights only recover."""
_PACE = 0.1
"""Of the logarithm of the step, beside the parameter that is trained."""


class LearnedGrid(UniformQuantizer):
    """Round a tensor to multiples of one step, as many as there are; the step is trained with it.

    Gradients pass straight through to the tensor; that of the step is Esser et al.'s (2019, arXiv:1902.08153, section
    2.1), whole: what the codes cost has its slope in the same step, and the two are weighed as in the loss (section 2.2
    divides the first by the root of the number of weights: steps then grow until large layers have only -1, 0 and 1). A
    training makes the codes of all such grids of a network take `wanted_bits` in the file (`training.rate_pressure`),
    written with `coder`.

    log_step: natural logarithm of the step, float32, (). Trained is `position`, of which it is a tenth: Adam moves a
    parameter by its rate, however small the gradient, and a step that grows faster than weights move leaves none.
    """

    def __init__(self, log_step: Tensor, *, wanted_bits: float, coder: str, settled: bool = False) -> None:
        super().__init__(2, scheme="symmetric", granularity="tensor")
        self.position = nn.Parameter(log_step.detach() / _PACE)
        self.wanted_bits = wanted_bits
        self.coder = coder
        self.settled = settled

    @property
    def log_step(self) -> Tensor:
        """The natural logarithm of the step, ()."""
        return _PACE * self.position

    def forward(self, weight: Tensor) -> Tensor:
        """Return the rounded weight, differentiable as if it were `weight`, and in the step."""
        rounded = super().forward(weight)
        if not (torch.is_grad_enabled() and self.position.requires_grad):
            return rounded
        with torch.no_grad():
            slope = rounded.float() - weight.float()
        nothing: Tensor = (slope * (self.log_step - self.log_step.detach())).to(weight.dtype)
        return rounded + nothing

    @torch.no_grad()
    def widen(self, by: float, /) -> None:
        """Make the step wider; by: added to its logarithm."""
        self.position.add_(by / _PACE)

    def in_steps(self, weight: Tensor) -> Tensor:
        """Return a tensor in steps, float32."""
        return weight.detach().float() / self.log_step.detach().exp()

    def quantize(self, weight: Tensor) -> QuantizedTensor:
        """Return the codes of `weight` (any float dtype) and their grid. ValueError where it is not finite."""
        stored = super().quantize(weight)
        largest = int(stored.codes.abs().max()) if stored.codes.numel() else 0
        return replace(stored, bits=max(2, largest.bit_length() + 1))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> LearnedGrid:
        """Move the grid as the network moves; where that is cast to another type, the grid stays what it is."""
        position = self.position.detach()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.position.data = position.to(self.position.device)
        return self

    def settings(self) -> dict[str, Any]:
        """Return what `described.impose` needs to make the constraint again, beside its parameter."""
        names = ("wanted_bits", "coder", "settled")
        return {"kind": "learned", **{name: getattr(self, name) for name in names}}

    def advance(self, _weight: Tensor, step: int, n_steps: int, /) -> None:
        """Note, before step `step` of `n_steps`, whether the length is what is wanted by now."""
        self.settled = step >= CLOSED_AT * n_steps

    def _codes(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scale = self.log_step.detach().exp().reshape(1)
        codes = torch.round(rows / scale).clamp(-(2**20), 2**20).to(torch.int32)
        return codes, scale, torch.zeros(1, dtype=torch.int32, device=rows.device)


def learned_grids(network: nn.Module, /) -> Iterator[tuple[LearnedGrid, tuple[Place, ...]]]:
    """Yield the learned grids of a network, each once, with all places of its tensor."""
    found: dict[LearnedGrid, list[Place]] = {}
    for module in network.modules():
        if parametrize.is_parametrized(module):
            for name in module.parametrizations:  # type: ignore[union-attr]
                grid = learned_grid_on(module, name)
                if grid is not None:
                    found.setdefault(grid, []).append((module, name))
    return ((grid, tuple(places)) for grid, places in found.items())


def learned_grid_on(module: nn.Module, tensor_name: str) -> LearnedGrid | None:
    """Return the learned grid that has the last word on a tensor, if there is one."""
    last = next(reversed(constraints_on(module, tensor_name)), None)
    return last if isinstance(last, LearnedGrid) else None
