"""Trained grids at their end: codes that stay, and more of them zero where the file is to be shorter."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from effbench.compression.constraints.learned_grid import learned_grids
from effbench.compression.constraints.quantizer import HeldGrid
from effbench.compression.constraints.stack import constrained_input, exchange_last, parameter_behind


def reaches_of(network: nn.Module, /) -> Tensor:
    """Return how far from zero, in steps, each number lies whose code is not zero: float32 (n,), ascending."""
    sizes = [grid.in_steps(constrained_input(*places[0])).abs().flatten() for grid, places in learned_grids(network)]
    return torch.cat([size[size > 0.5] for size in sizes]).sort().values if sizes else torch.empty(0)


def hold_learned_grids(network: nn.Module, /, *, reach: float = 0.0) -> nn.Module:
    """Return the network, in place, with learned grids that stay where they are: `HeldGrid`s of their codes.

    reach: in steps; a code whose number was no farther from zero becomes zero.
    """
    for grid, places in list(learned_grids(network)):
        numbers = constrained_input(*places[0])
        stored = grid.quantize(numbers)
        codes = torch.where(grid.in_steps(numbers).abs() > reach, stored.codes, 0)
        largest = int(codes.abs().max()) if codes.numel() else 0
        held = HeldGrid(stored.scale, stored.zero_point, bits=max(2, largest.bit_length() + 1), scheme="symmetric")
        with torch.no_grad():
            parameter_behind(*places[0]).copy_(codes.float() * stored.scale)
        for module, name in places:
            exchange_last(module, name, held)
    return network
