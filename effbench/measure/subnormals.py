"""Subnormal weights: floats so near to zero that many processors compute with them several times slower.

Batch norms that are folded and strong weight decay make such weights; they do nothing for the answer (fasterai#82,
onnxruntime#5117).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from effbench.compression.constraints.stack import bake


def n_subnormal(model: nn.Module, /) -> int:
    """Return how many values of a network's parameters and floating buffers are subnormal, its constraints applied.

    >>> layer = nn.Linear(2, 1)
    >>> _ = layer.weight.data.copy_(torch.tensor([[1e-40, 0.0]]))
    >>> n_subnormal(layer)
    1
    """
    state = bake(model).state_dict().values()
    return sum(int(_are_subnormal(tensor).sum()) for tensor in state if tensor.is_floating_point())


def without_subnormals(model: nn.Module, /) -> nn.Module:
    """Return a copy of a network without constraints, its subnormal values zero; grids on inputs stay."""
    flushed = bake(model)
    with torch.no_grad():
        for tensor in flushed.state_dict().values():
            if tensor.is_floating_point():
                tensor[_are_subnormal(tensor)] = 0
    return flushed


def _are_subnormal(tensor: Tensor) -> Tensor:
    return (tensor != 0) & (tensor.abs() < torch.finfo(tensor.dtype).tiny)
