"""What `size_ratio` is relative to: a model's bytes before any compression."""

from __future__ import annotations

from torch import nn

from effbench.compression.constraints.copies import plain_network
from effbench.measure.tensors import parameter_places, standing_modules


def float32_bytes(model: nn.Module, /) -> int:
    """Return 4 × (parameters + floating-point buffers), in bytes.

    A tied parameter counts once, like in `params`; counters of batches and what constraints hold do not count.

    >>> float32_bytes(nn.Linear(3, 2)), float32_bytes(nn.BatchNorm1d(5))
    (32, 80)
    """
    model = plain_network(model)
    n_parameters = sum(place.value().numel() for place in parameter_places(model) if place.is_first)
    buffers = {
        id(buffer): buffer.numel()
        for _name, module in standing_modules(model)
        for buffer in module._buffers.values()
        if buffer is not None and buffer.is_floating_point()
    }
    return 4 * (n_parameters + sum(buffers.values()))


def tensor_bytes(model: nn.Module, /) -> int:
    """Return the bytes of a model's parameters and buffers in their own types, constraints baked into plain tensors.

    >>> tensor_bytes(nn.Linear(3, 2).double()), tensor_bytes(nn.BatchNorm1d(5))
    (64, 88)
    """
    model = plain_network(model)
    parameters = sum(place.value().nbytes for place in parameter_places(model) if place.is_first)
    buffers = {
        id(buffer): buffer.nbytes
        for _name, module in standing_modules(model)
        for buffer in module._buffers.values()
        if buffer is not None
    }
    return parameters + sum(buffers.values())
