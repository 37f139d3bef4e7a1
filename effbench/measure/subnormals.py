"""Subnormal weights: floats so near to zero that many processors compute with them several times slower.

Batch norms that are folded and strong weight decay make such weights; they do nothing for the answer (fasterai#82,
onnxruntime#5117).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from effbench.compression.constraints.copies import copy_network


def n_subnormal(model: nn.Module, /) -> int:
    """Return how many float32 values of a network's parameters and buffers are subnormal.

    Tensors under constraints do not count: codes on a grid are no such floats. Nor do 16-bit floats, which processors
    compute as float32.

    >>> layer = nn.Linear(2, 1)
    >>> _ = layer.weight.data.copy_(torch.tensor([[1e-40, 0.0]]))
    >>> n_subnormal(layer)
    1
    """
    return sum(int(_are_subnormal(tensor).sum()) for tensor in _plain_tensors(model))


def without_subnormals(model: nn.Module, /) -> nn.Module:
    """Return a copy of a network, its subnormal values zero; constraints stay as they are."""
    flushed = copy_network(model)
    with torch.no_grad():
        for tensor in _plain_tensors(flushed):
            tensor[_are_subnormal(tensor)] = 0
    return flushed


def _plain_tensors(model: nn.Module) -> Iterator[Tensor]:
    """Yield the float32 tensors of a network that no constraint makes."""
    for name, module in model.named_modules():
        if "parametrizations" not in name.split("."):
            for tensor in (*module._parameters.values(), *module._buffers.values()):
                if tensor is not None and tensor.dtype == torch.float32:
                    yield tensor.detach()


def _are_subnormal(tensor: Tensor) -> Tensor:
    return (tensor != 0) & (tensor.abs() < torch.finfo(tensor.dtype).tiny)
