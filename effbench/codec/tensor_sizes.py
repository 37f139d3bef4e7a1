"""What each tensor takes in a file, beside what it would take without any context."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from effbench.compression.constraints.codebook import SharedTensor
from effbench.compression.constraints.quantizer import QuantizedTensor

Stored = Tensor | QuantizedTensor | SharedTensor
"""A tensor as it is, or in the form in which its constraints have it stored."""


@dataclass(frozen=True)
class TensorSize:
    """What a tensor takes."""

    name: str
    n_values: int
    n_bytes: int
    """Of its record: header, tables and grids too."""
    entropy_bytes: float | None
    """If each of its codes (or integers) took -log2 of its share among them, and nothing else were stored: the bound of
    a coder that knows how often each occurs and nothing of its place. None for floats."""


def entropy_bytes(stored: Stored, /) -> float | None:
    """Return what the codes of a tensor take at their order-0 entropy; None for floats.

    >>> import torch
    >>> entropy_bytes(torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]))
    2.0
    """
    codes = stored if isinstance(stored, Tensor) else stored.codes
    if codes.is_floating_point() or codes.is_complex():
        return None
    _, counts = np.unique(codes.cpu().numpy(), return_counts=True)
    shares = counts / max(1, counts.sum())
    return abs(float((counts * np.log2(shares)).sum())) / 8
