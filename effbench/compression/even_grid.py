"""Weights rounded to the multiples of one step, as many as there are: what an entropy coder wants.

Every step has the same width, zero is on the grid, and nothing is cut off: at equal error the entropy of the multiples
is within 0.25 bits a weight of the least that is possible (Gish and Pierce 1968, "Asymptotically efficient quantizing",
section III), while levels that are few and fitted to each channel, as kernels for integers want them, cost more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from effbench.checks.text import few_names
from effbench.compression.constraints.codebook import Codebook
from effbench.compression.constraints.learned_grid import LearnedGrid
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.quantizer import HeldGrid, UniformQuantizer
from effbench.compression.constraints.stack import (
    bake_tensor,
    constraints_on,
    parameter_behind,
    quantizer_of,
    register,
)
from effbench.compression.feedback import round_with_feedback, takes_feedback
from effbench.compression.layers import Weight

Values = NDArray[np.float64]

MOST = 2**20
"""Multiples of the step, up or down: a quantiser's, see `constraints.quantizer`."""
_MOST_PRICED = 2**10


def least_step(values: Tensor, /) -> float:
    """Return the least step at which no value is more multiples of it than can be."""
    return max(float(values.abs().max()) / (MOST - 1), 1e-30)


def nearest_multiples(values: Tensor, step: float, /) -> Tensor:
    """Return the nearest multiples of a step, int64, in the values' shape."""
    return torch.round(values.double() / step).clamp(-MOST, MOST).to(torch.int64)


def entropy_bits(multiples: Tensor, /) -> float:
    """Return how many bits integers take, each coded by how often it occurs, its table not counted."""
    _, counts = np.unique(multiples.cpu().numpy(), return_counts=True)
    return float(-(counts * np.log2(counts / counts.sum())).sum())


def choose_multiples(
    values: Tensor, step: float, /, *, spread: Tensor | None, price: float, is_trellis: bool = False
) -> Tensor:
    """Return the multiples of a step that stand for a weight, int64, in its shape. What is zero stays zero.

    spread: of its inputs, (n_groups, n_columns, n_columns), see `feedback.spread_of_errors`; each weight then makes
    good for the errors of those before it. Without, each is rounded alone. price: how much squared error, in squares
    of the step, a bit is worth: of the nearest multiple, that one step nearer to zero, and zero, the one is taken with
    the least error + price x bits, by how often each occurs among the nearest ones (rate-distortion optimised
    quantisation, Karczewicz et al. 2008; DeepCABAC, arXiv:1907.11900, section III.D). 0 takes the nearest. is_trellis:
    of the sequences down each column that the machine of `compression.trellis` allows, the best is taken.
    """
    if is_trellis:
        return _choose_on_trellis(values, step, spread=spread, price=price)
    nearest = nearest_multiples(values, step)
    costs = _bits_of(nearest) * price if price else None
    zeros = values == 0
    if spread is None:
        chosen = nearest.double() if costs is None else _cheapest(values.double() / step, costs)
        return torch.where(zeros, 0.0, chosen).to(torch.int64)
    rows = values.double().reshape(len(spread), -1, spread.shape[-1]) / step
    held = zeros.reshape(rows.shape)

    def round_column(column: Tensor, number: int) -> Tensor:
        chosen = torch.round(column) if costs is None else _cheapest(column, costs)
        return torch.where(held[..., number], 0.0, chosen.clamp(-MOST, MOST))

    return round_with_feedback(rows, spread, round_column).to(torch.int64).reshape(values.shape)


def _choose_on_trellis(values: Tensor, step: float, /, *, spread: Tensor | None, price: float) -> Tensor:
    from effbench.compression import trellis

    n_columns = values.shape[1:].numel() if spread is None else spread.shape[-1]
    rows = values.double().reshape(1 if spread is None else len(spread), -1, n_columns) / step
    held = (rows == 0).numpy()
    costs = price * _bits_on_trellis(rows)

    def round_column(column: Tensor, number: int) -> Tensor:
        chosen = np.zeros(column.numel(), np.int64)
        within = column.clamp(-MOST, MOST).reshape(-1).numpy()
        trellis.best_multiples(within, held[..., number].reshape(-1), costs, chosen)
        return torch.from_numpy(chosen).double().reshape(column.shape)

    if spread is None:
        columns = [round_column(rows[..., number], number) for number in range(n_columns)]
        multiples = torch.stack(columns, dim=-1)
    else:
        multiples = round_with_feedback(rows, spread, round_column)
    return multiples.to(torch.int64).reshape(values.shape)


def _bits_on_trellis(rows: Tensor) -> Values:
    """Return what a code of each magnitude costs on each of the two grids, (2, n_sizes).

    By how often values (in steps) are nearest to it there; a sign costs a bit. On the first grid a code k stands for
    2 k, on the second for 2 k - 1.
    """
    halves = (2 * rows.abs()).clamp(max=4 * _MOST_PRICED).long().reshape(-1)
    counts = torch.bincount(halves, minlength=8)
    n_sizes = len(counts) // 4 + 2
    nearest = torch.arange(len(counts))
    bits = np.zeros((2, n_sizes))
    for second in range(2):
        # Borders lie at 1, 3, 5, ... steps, on the second grid at 1/2, 2, 4, ...
        sizes = (nearest + 2) // 4 if second == 0 else torch.where(nearest == 0, 0, nearest // 4 + 1)
        seen = torch.bincount(sizes, weights=counts.double(), minlength=n_sizes) + 0.5
        bits[second] = (-torch.log2(seen / seen.sum()) + (torch.arange(n_sizes) > 0)).numpy()
    return bits


def hold_on_grid(weight: Weight, multiples: Tensor, step: float, /, *, is_trellis: bool = False) -> None:
    """Put a weight on its multiples of a step, in all its places: codes on a grid that stays."""
    module, tensor_name = weight.places[0]
    bits = max(2, int(multiples.abs().max()).bit_length() + 1) if multiples.numel() else 2
    scale = torch.tensor(step, dtype=torch.float32)
    held = HeldGrid(scale, torch.zeros((), dtype=torch.int32), bits=bits, scheme="symmetric", is_trellis=is_trellis)
    if takes_feedback(weight):
        behind = parameter_behind(module, tensor_name)
        with torch.no_grad():
            behind.copy_(multiples.to(torch.float32) * scale)
    for place, name in weight.places:
        register(place, name, held)


def refuse_unfit(weights: Sequence[Weight], /) -> None:
    """Refuse weights that another technique has quantised, or that no grid can hold. ValueError names them."""
    held = [
        weight.name
        for weight in weights
        if not is_on_even_grid(weight)
        and any(isinstance(kind, (UniformQuantizer, Codebook)) for kind in constraints_on(*weight.places[0]))
    ]
    if held:
        raise ValueError(f"rate: quantised already are {few_names(held)}; give either rate or bits, share, bits_budget")
    odd = [weight.name for weight in weights if not bool(torch.isfinite(weight.value()).all())]
    if odd:
        raise ValueError(f"rate: what is not finite can't be quantised: {few_names(odd)}")


def is_on_even_grid(weight: Weight, /) -> bool:
    """Whether a weight is on one grid, as `hold_on_grid` has put it there, or as it was trained."""
    quantizer = quantizer_of(*weight.places[0])
    return isinstance(quantizer, HeldGrid | LearnedGrid) and quantizer.granularity == "tensor"


def leave_grid(weight: Weight, /) -> None:
    """Take a weight, in place, from such a grid, where it is on one; its masks hold on."""
    if is_on_even_grid(weight):
        (module, tensor_name), *others = weight.places
        masks = [constraint for constraint in constraints_on(module, tensor_name) if isinstance(constraint, Mask)]
        bake_tensor(module, tensor_name, also=others)
        for mask in masks:
            for place, name in weight.places:
                register(place, name, mask)


def _bits_of(nearest: Tensor) -> Tensor:
    """Return what each magnitude costs, (most + 1,) float64, by how often it occurs; a sign costs a bit.

    Each has been seen half a time more than it has.
    """
    sizes = nearest.abs().reshape(-1).clamp(max=_MOST_PRICED)
    counts = torch.bincount(sizes, minlength=2).double() + 0.5
    return -torch.log2(counts / counts.sum()) + (torch.arange(len(counts)) > 0)


def _cheapest(values: Tensor, costs: Tensor) -> Tensor:
    """Return of each value (in steps) the multiple of least squared error + cost."""
    sizes = values.abs()
    nearest = torch.round(sizes)
    best, least = nearest, torch.full_like(sizes, torch.inf)
    for candidate in (nearest, (nearest - 1).clamp(min=0), torch.zeros_like(nearest)):
        cost = (sizes - candidate).square() + costs[candidate.clamp(max=len(costs) - 1).long()]
        best, least = torch.where(cost < least, candidate, best), torch.minimum(cost, least)
    return torch.copysign(best, values)
