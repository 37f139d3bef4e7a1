"""Weight sharing: every layer makes do with a few distinct weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar, get_args

import torch
from torch import nn

from effbench.compression.constraints.codebook import ValuePrecision
from effbench.compression.constraints.sharing import share_values
from effbench.compression.kmeans import Initial
from effbench.compression.layers import weight_layers
from effbench.plan.stage import Context

MAX_VALUES = 2**16
_NEUTRAL = {
    "values": "",
    "values_conv": " or 0 (as values)",
    "values_linear": " or 0 (as values)",
    "values_bias": " or 0 (each its own)",
}


@dataclass(frozen=True, kw_only=True)
class Share:
    """Replace the weights of each layer by k values, found by k-means (Han et al. 2015, arXiv:1510.00149, section 3).

    n weights of b bits then take n * log2(k) + k * b bits before any entropy coding. Weights that are zero stay zero
    and need no value: they are where the file's index does not lead. A layer with fewer distinct weights than k keeps
    them exactly. Where a recipe finetunes afterwards, the values are trained, each by the gradient summed over its
    weights (section 3.2), and which weight has which value stays as it is, unless `reassign` lets it change.
    Constraints that the weights had before are settled: what a mask held stays zero, what a grid gave is clustered.

    k-means to k = 2^bits values is also what is called non-uniform quantisation to that many bits: scheme=kmeans of the
    stage `Quantize`.
    """

    VERSION: ClassVar[int] = 1

    values: int
    """Distinct weights of a layer beside zero, 2 to 65536."""
    values_conv: int = 0
    """Of convolutions, where it is another number than that of linear layers (the paper: 256 and 32); 0: `values`."""
    values_linear: int = 0
    """Of linear layers; 0: `values`."""
    values_bias: int = 0
    """Distinct biases of a layer beside zero, 2 to 65536: what is nearest to zero becomes zero. 0: each its own."""
    reassign: int = 0
    """Every so many steps of the next training each weight takes the nearest value anew; 0: it keeps its first."""
    precision: ValuePrecision = "float32"
    """What the values are rounded to, in training and in the file: bfloat16 ones take half the bytes."""
    initial: Initial = "linear"
    """Where k-means starts: see `kmeans`. Linear keeps the rare large weights, which matter most (section 3.1)."""

    def __post_init__(self) -> None:
        """Refuse what is no number of values and no start."""
        for name, neutral in _NEUTRAL.items():
            number = getattr(self, name)
            if not (2 <= number <= MAX_VALUES or (neutral and number == 0)):
                raise ValueError(f"{name}={number}: must be 2 to {MAX_VALUES}{neutral}")
        if self.reassign < 0:
            raise ValueError(f"reassign={self.reassign}: must be a number of steps, or 0 for never")
        if self.precision not in get_args(ValuePrecision):
            raise ValueError(f"precision={self.precision}: must be {' or '.join(get_args(ValuePrecision))}")
        if self.initial not in get_args(Initial):
            raise ValueError(f"initial={self.initial}: must be {', '.join(get_args(Initial))}")

    def at_round(self, position: int, n_rounds: int) -> Share:
        """Return the stage itself: the number of values is the same in every round."""
        return self

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` whose layers share their weights. ValueError for a weight that is not finite."""
        shared = copy.deepcopy(model)
        generator = context.generator()
        for name, layer in weight_layers(shared):
            self._share(layer, "weight", name, self._n_values(layer), generator)
            if self.values_bias and getattr(layer, "bias", None) is not None:
                self._share(layer, "bias", name, self.values_bias, generator)
        return shared

    def _n_values(self, layer: nn.Module) -> int:
        return (self.values_linear if isinstance(layer, nn.Linear) else self.values_conv) or self.values

    def _share(self, layer: nn.Module, tensor_name: str, name: str, n_values: int, generator: torch.Generator) -> None:
        share_values(
            layer,
            tensor_name,
            n_values,
            name=name,
            initial=self.initial,
            generator=generator,
            reassign=self.reassign,
            precision=self.precision,
        )
