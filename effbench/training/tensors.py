"""All tensors of a network by name, and these from what was kept of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def tensors_of(model: nn.Module, /) -> dict[str, Tensor]:
    """Return every parameter and buffer of a network by its name, those that no state_dict has as well.

    A tied one has the first of its names. Detached, in the network's own memory.
    """
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: tensor.detach() for name, tensor in named.items()}


@torch.no_grad()
def copy_into(tensors: Mapping[str, Tensor], kept: Mapping[str, Any], /, *, what: str) -> None:
    """Give tensors the values that were kept. ValueError where these are not those of the same network."""
    if tensors.keys() != kept.keys():
        (name, *_) = sorted(tensors.keys() ^ kept.keys())
        raise ValueError(f"the {what} that was kept is of another network: {name} is in one of them alone")
    for name, tensor in tensors.items():
        value = kept[name]
        if not isinstance(value, Tensor) or value.shape != tensor.shape or value.dtype != tensor.dtype:
            raise ValueError(f"the {what} that was kept is of another network: {name} is of another kind")
    for name, tensor in tensors.items():
        tensor.copy_(kept[name])
