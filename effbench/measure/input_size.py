"""What measurements feed to a network: the size and the type of one input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


def checked_size(input_size: Sequence[int], /) -> tuple[int, ...]:
    """Return the size of one input, without the batch, as a tuple. ValueError unless all are integers of at least 1."""
    size = tuple(input_size)
    if not size or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in size):
        raise ValueError(
            f"input_size must be the size of one input, integers of at least 1 as in (3, 224, 224), got {size}"
        )
    return size


def input_dtype(model: nn.Module, /) -> torch.dtype:
    """Return the floating type that a model computes in: its first floating parameter's, float32 without one."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
