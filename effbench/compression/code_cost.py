"""What numbers cost an entropy coder, and which way they get cheaper: a density that is learned while they move."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

_N_PARTS = 3
_RATE, _FIRST_RATE, _N_FIRST = 0.02, 0.1, 50
"""Of learning, in logarithms a step; and in how many steps it begins with."""
_DECAYS = (0.9, 0.99)
_SPREAD = 1.0
"""How far logarithms of rows and columns are expected to lie from 0."""
_LEAST_CHANCE = 1e-9


class CodeCost:
    """A learned density of a tensor's numbers, in steps of their grid, of which a code takes -log2 of its chance.

    A number x of row i and column j is within half a step of what it is with the chance
    sum over m of share_m * (F((|x| + 1/2) / s) - F((|x| - 1/2) / s)), s = size_m * row_i * column_j, F that of a
    Laplace distribution: a peak at zero and a long tail, and what is in rows and columns of which little is left is
    expected to be zero, as an adaptive coder with contexts has it. At whole x that is the chance of a code; between
    them it is smooth (Oktay et al. 2019, arXiv:1906.06624, section 3.1: the density of latent weights, learned with
    them). All four are learned by gradients of the bits that the numbers take (Adam), rows and columns with a normal
    prior of their logarithms.

    shape: of the tensor; rows are its first dimension, columns all others. One of a single dimension has neither.
    """

    def __init__(self, shape: torch.Size, /, *, device: torch.device) -> None:
        self.n_rows, self.n_columns = (shape[0], math.prod(shape[1:])) if len(shape) > 1 else (1, math.prod(shape))
        sizes = torch.tensor([-2.0, -0.5, 1.0], device=device)
        self.learned = {"shares": torch.zeros(_N_PARTS, device=device), "sizes": sizes}
        if len(shape) > 1:
            self.learned["rows"] = torch.zeros(self.n_rows, 1, device=device)
            self.learned["columns"] = torch.zeros(1, self.n_columns, device=device)
        self._moments = {
            name: (torch.zeros_like(value), torch.zeros_like(value)) for name, value in self.learned.items()
        }
        self._n_steps = 0

    def fit(self, numbers: Tensor, /) -> None:
        """Learn the density of numbers from nothing."""
        for _ in range(_N_FIRST):
            *_, slopes = self._bits_and_slopes(numbers.reshape(self.n_rows, self.n_columns))
            self._descend(slopes, _FIRST_RATE)

    def learn(self, numbers: Tensor, /) -> tuple[Tensor, Tensor]:
        """Return the bits that numbers take, (), and their slope in each, in its shape; the density takes a step."""
        bits, slope, slopes = self._bits_and_slopes(numbers.reshape(self.n_rows, self.n_columns))
        self._descend(slopes, _RATE)
        return bits, slope.reshape(numbers.shape)

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides how it goes on."""
        return {"learned": self.learned, "moments": self._moments, "n_steps": self._n_steps}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Go on from what `state_dict` gave."""
        for name, value in self.learned.items():
            value.copy_(state["learned"][name])
            for moment, kept in zip(self._moments[name], state["moments"][name], strict=True):
                moment.copy_(kept)
        self._n_steps = state["n_steps"]

    @torch.no_grad()
    def _bits_and_slopes(self, numbers: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return bits, and their slopes in the numbers and in what is learned."""
        sizes = numbers.abs()
        is_beyond = sizes >= 0.5
        offsets = self.learned["rows"] + self.learned["columns"] if "rows" in self.learned else sizes.new_zeros(1, 1)
        log_shares = self.learned["shares"].log_softmax(0)
        parts = [_part(sizes, is_beyond, offsets + self.learned["sizes"][number]) for number in range(_N_PARTS)]
        joint = torch.stack([part[0] for part in parts]) + log_shares.view(-1, 1, 1)
        total = torch.logsumexp(joint, 0)
        chances = (joint - total).exp_()
        slope = -sum(chance * part[1] for chance, part in zip(chances, parts, strict=True)) / math.log(2)
        by_size = [-(chance * part[2]) for chance, part in zip(chances, parts, strict=True)]
        slopes = {
            "shares": -(chances.sum((1, 2)) - numbers.numel() * log_shares.exp()),
            "sizes": torch.stack([values.sum() for values in by_size]),
        }
        if "rows" in self.learned:
            together = sum(by_size[1:], by_size[0])
            for name, dim in (("rows", 1), ("columns", 0)):
                slopes[name] = together.sum(dim, keepdim=True) + self.learned[name] / _SPREAD**2
        return -total.sum() / math.log(2), slope * numbers.sign(), slopes

    @torch.no_grad()
    def _descend(self, slopes: Mapping[str, Tensor], rate: float) -> None:
        self._n_steps += 1
        for name, slope in slopes.items():
            for moment, decay, value in zip(self._moments[name], _DECAYS, (slope, slope.square()), strict=True):
                moment.lerp_(value, 1 - decay)
            first, second = (
                moment / (1 - decay**self._n_steps) for moment, decay in zip(self._moments[name], _DECAYS, strict=True)
            )
            self.learned[name] -= rate * first / (second.sqrt() + 1e-8)
        self.learned["sizes"].clamp_(-6, 6)
        for name in ("rows", "columns"):
            if name in self.learned:
                self.learned[name].clamp_(-6, 6)


def _part(sizes: Tensor, is_beyond: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the logarithm of the chance of each size in one Laplace distribution, and its slopes in size and scale.

    The second slope is that in the logarithm of the scale. A chance is 1 - exp(-h) cosh(r) within half a step of zero,
    and exp(-r) sinh(h) beyond, with r = size / scale and h = 1 / (2 scale).
    """
    inverse = torch.exp(-log_scale)
    half = inverse / 2
    reach = sizes * inverse
    log_sinh = half + torch.log1p(-torch.exp(-2 * half)) - math.log(2)
    inner = torch.minimum(reach, half)
    up, down = torch.exp(inner - half), torch.exp(-inner - half)
    chance = (1 - (up + down) / 2).clamp(min=_LEAST_CHANCE)
    sine, cosine = (up - down) / (2 * chance), (up + down) / (2 * chance)
    value = torch.where(is_beyond, log_sinh - reach, chance.log())
    by_size = torch.where(is_beyond, -inverse, -inverse * sine)
    by_scale = torch.where(is_beyond, reach - half / torch.tanh(half), inner * sine - half * cosine)
    return value, by_size, by_scale
