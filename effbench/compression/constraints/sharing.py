"""A tensor's numbers replaced by a few shared values: what weight sharing and non-uniform quantisation both do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.codebook import Codebook, MovingCodebook, ValuePrecision, share_tensor
from effbench.compression.constraints.stack import Place, bake_tensor, constrained_value
from effbench.compression.kmeans import Initial, kmeans


def share_values(
    layer: nn.Module,
    tensor_name: str,
    n_values: int,
    /,
    *,
    name: str,
    initial: Initial,
    generator: torch.Generator,
    reassign: int = 0,
    precision: ValuePrecision = "float32",
    also: Sequence[Place] = (),
) -> None:
    """Tie a parameter of a module to at most `n_values` values beside zero, found by k-means, in place.

    The values are then the means of their numbers, rounded to `precision`; every `reassign` steps of training each
    number has the nearest of them anew (0: it keeps its own). Zeros stay zeros; a bias that is nearer to zero than to
    its value becomes zero. Constraints that the tensor had are settled first; a tensor of zeros has no value to find,
    and keeps them. also: other places of the same parameter. ValueError, with the layer's `name`, for a number that is
    not finite.
    """
    tensor = constrained_value(layer, tensor_name)
    if not bool(torch.isfinite(tensor).all()):
        kind = "bias" if "bias" in tensor_name else "weight"
        raise ValueError(f"{name}: a {kind} that is not finite can't be shared; a lower lr of training may help")
    if bool((tensor == 0).all()):
        return
    numbers = tensor.detach().cpu().double().numpy()
    values_of_numbers = _codes(numbers, n_values, initial, generator, makes_zero="bias" in tensor_name)
    codes = torch.from_numpy(values_of_numbers).to(tensor.device)
    codebook = Codebook(codes, int(codes.max()), precision)
    if reassign:
        values = codebook.right_inverse(tensor.detach())
        codebook = MovingCodebook(codes, values, every=reassign, precision=precision)
    if parametrize.is_parametrized(layer, tensor_name):
        bake_tensor(layer, tensor_name, also=also)
    share_tensor(layer, tensor_name, codebook, also=also)


def _codes(
    numbers: NDArray[np.float64], n_values: int, initial: Initial, generator: torch.Generator, *, makes_zero: bool
) -> NDArray[np.int64]:
    """Return which value each number has, 1 to n_values, and 0 for zero; `makes_zero` for what is nearest to it."""
    is_zero = numbers == 0
    while True:
        clusters = kmeans(numbers[~is_zero], n_values, initial=initial, generator=generator)
        labels = clusters.labels(numbers)
        to_value = np.abs(numbers - clusters.centroids[labels])
        nearer_to_zero = ~is_zero & (np.abs(numbers) < to_value)
        if not makes_zero or not nearer_to_zero.any():
            return np.where(is_zero, 0, labels + 1)
        is_zero |= nearer_to_zero
