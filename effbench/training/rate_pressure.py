"""What the codes of a network cost in its file, as a part of what its training descends."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from effbench.compression.code_cost import CodeCost
from effbench.compression.constraints.learned_grid import CLOSED_AT, LearnedGrid, learned_grids
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.stack import constraints_on, parameter_behind

CodeLength = Callable[[nn.Module, Any], int]
"""code_length(module, coder) -> bytes of its file."""

_FIRST_PRICE, _LEAST_PRICE = -16.0, -25.0
"""Logarithms of what a bit costs, in the loss: at first, and at the least."""
_AIM = 1.03
"""Of the wanted length, what the training aims at: in its last steps, as codes come to rest, it falls by that or by
more, and what is left over is cut (`stages.rate`)."""
_INTEGRAL, _PROPORTIONAL = 200.0, 10.0
"""How much the logarithm of the price moves in a training for each unit by which the length's logarithm is off, and at
once."""
_MOST_OFF = 1.0
_WIDENING, _BEHIND, _MOST_BEHIND = 100.0, 0.05, 0.3
"""How much the logarithms of all steps move in a training for each unit by which the length's logarithm is too large,
beyond the first of the two that follow and up to the second."""
_MOST_REUSED, _STEPS_A_USE = 16, 500
"""For how many steps the slopes of the bits serve at most, and of how many steps of the training each of them asks."""


@dataclass(frozen=True)
class _Held:
    """A tensor on a learned grid."""

    grid: LearnedGrid
    masks: tuple[Mask, ...]
    """Those that the grid comes after."""
    parameter: Tensor
    cost: CodeCost

    def in_steps(self) -> Tensor:
        """Return the numbers that are rounded, in steps."""
        return self.grid.in_steps(math.prod((mask.mask for mask in self.masks), start=self.parameter.detach()))


class RatePressure:
    """The price of a bit, times the bits of all learned grids of a network, is added to the loss.

    The price follows the length: it rises while codes take more than they should by now, and falls while they take
    less. Where it does not suffice (in a short training, or at a low learning rate) all steps become wider. From what
    codes take at first that goes down to `LearnedGrid.wanted_bits`, in the logarithm and ever more slowly (the cubic of
    Zhu and Gupta 2017, arXiv:1710.01878, section 3), and is there after `CLOSED_AT` of the training. What they take is
    the density's estimate (`CodeCost`) times what the coder made of it when they were last written, at the end of an
    epoch. The slopes of the bits are taken anew every few steps of a long training. What the loss does not reach is
    left alone.
    """

    def __init__(self, model: nn.Module, /, *, n_steps: int, device: torch.device) -> None:
        self._held = [_held(grid, *places[0], device) for grid, places in learned_grids(model)]
        self._n_steps = n_steps
        self._every = max(1, min(_MOST_REUSED, n_steps // _STEPS_A_USE))
        self._slopes: list[Tensor] = []
        self.bits = float(sum(held.cost.learn(held.in_steps())[0] for held in self._held))
        self._first_bits, self._coded, self._integral = 0.0, 1.0, _FIRST_PRICE

    @classmethod
    def on(cls, model: nn.Module, /, *, n_steps: int, device: torch.device) -> RatePressure | None:
        """Return what a network's learned grids ask for; None where it has none."""
        pressure = cls(model, n_steps=n_steps, device=device)
        return pressure if pressure._held else None

    def add_gradients(self, step: int, /) -> None:
        """Add the gradients of price x bits to those of the loss, before the optimiser takes step `step`."""
        if not self._slopes or step % self._every == 0:
            learned = [held.cost.learn(held.in_steps()) for held in self._held]
            self.bits = float(sum(bits for bits, _ in learned))
            self._slopes = [slope for _, slope in learned]
        self._first_bits = self._first_bits or self.bits * self._coded
        off = self._off(step / self._n_steps)
        self._integral = max(_LEAST_PRICE, min(self._integral + _INTEGRAL * off / self._n_steps, 0.0))
        price = math.exp(min(self._integral + _PROPORTIONAL * off, 0.0))
        widened = _WIDENING * max(0.0, min(off, _MOST_BEHIND) - _BEHIND) / self._n_steps
        for held, slopes in zip(self._held, self._slopes, strict=True):
            if held.parameter.grad is None:  # the loss does not reach it, and would not bring it back
                continue
            held.grid.widen(widened)
            held.parameter.grad += (slopes * (price * torch.exp(-held.grid.log_step.detach()))).to(held.parameter.dtype)
            position = held.grid.position
            if position.grad is not None:
                (by_position,) = torch.autograd.grad(held.grid.log_step, position)
                position.grad += -price * (slopes * held.in_steps()).sum() * by_position

    def calibrate(self, code_length: CodeLength, /) -> None:
        """Have the codes written, to know what the density's estimate comes to in the file."""
        codes = nn.Module()
        for number, held in enumerate(self._held):
            codes.register_buffer(str(number), torch.round(held.in_steps()).to(torch.int32).cpu())
        if self.bits:
            self._coded = 8 * code_length(codes, self._held[0].grid.coder) / self.bits

    def _off(self, done: float) -> float:
        """Return by how much the logarithm of the length is above what it should be by now."""
        wanted = _AIM * max(self._held[0].grid.wanted_bits, 1.0)
        if not self._first_bits:
            return 0.0
        left = (1 - min(1.0, done / CLOSED_AT)) ** 3
        goal = wanted * max(1.0, self._first_bits / wanted) ** left
        return max(-_MOST_OFF, min(_MOST_OFF, math.log(max(self.bits * self._coded, 1.0) / goal)))

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides how it goes on."""
        numbers = [self.bits, self._first_bits, self._coded, self._integral]
        return {"numbers": numbers, "slopes": self._slopes, "costs": [held.cost.state_dict() for held in self._held]}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Go on from what `state_dict` gave."""
        self.bits, self._first_bits, self._coded, self._integral = state["numbers"]
        pairs = zip(state["slopes"], self._held, strict=False)
        self._slopes = [slope.to(held.parameter.device) for slope, held in pairs]
        for held, cost in zip(self._held, state["costs"], strict=True):
            held.cost.load_state_dict(cost)


def _held(grid: LearnedGrid, module: nn.Module, tensor_name: str, device: torch.device) -> _Held:
    masks = tuple(kind for kind in constraints_on(module, tensor_name) if isinstance(kind, Mask))
    parameter = parameter_behind(module, tensor_name)
    held = _Held(grid, masks, parameter, CodeCost(parameter.shape, device=device))
    held.cost.fit(held.in_steps())
    return held
