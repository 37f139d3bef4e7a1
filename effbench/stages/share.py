"""Weight sharing: every layer makes do with a few distinct weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn.modules.conv import _ConvNd

from effbench.compression.constraints.codebook import ValuePrecision
from effbench.compression.constraints.copies import copy_network
from effbench.compression.constraints.sharing import share_values
from effbench.compression.constraints.stack import Place
from effbench.compression.kmeans import Initial
from effbench.compression.layers import Weight, biases_of
from effbench.plan.context import Context
from effbench.plan.stage import Stage

MAX_VALUES = 2**16

NValues = Annotated[int, Field(ge=2, le=MAX_VALUES)]
NValuesOrNone = Literal[0] | NValues


@dataclass(frozen=True, kw_only=True)
class Share(Stage):
    """Replace the weights of each layer by k values, found by k-means (Han et al. 2015, arXiv:1510.00149, section 3).

    n weights of b bits then take n * log2(k) + k * b bits before any entropy coding. Weights that are zero stay zero
    and need no value: they are where the file's index does not lead. A layer with fewer distinct weights than k keeps
    them exactly. Where a recipe finetunes afterwards, the values are trained, each by the gradient summed over its
    weights (section 3.2), and which weight has which value stays as it is, unless `reassign` lets it change.
    Constraints that the weights had before are settled: what a mask held stays zero, what a grid gave is clustered.

    k-means to k = 2^bits values is also what is called non-uniform quantisation to that many bits: scheme=kmeans of the
    stage `Quantize`.
    """

    VERSION: ClassVar[int] = 2
    LAYER_FIELD: ClassVar[str | None] = "values"

    values: NValues
    """Distinct weights of a layer beside zero."""
    values_conv: NValuesOrNone = 0
    """Of convolutions, where it is another number than that of linear layers (the paper: 256 and 32); 0: `values`."""
    values_linear: NValuesOrNone = 0
    """Of linear layers, attention and recurrent layers; 0: `values`."""
    values_bias: NValuesOrNone = 0
    """Distinct biases of a layer beside zero: what is nearest to zero becomes zero. 0: each its own."""
    reassign: Annotated[int, Field(ge=0, description="a number of steps; 0 for never")] = 0
    """Every so many steps of the next training each weight takes the nearest value anew; 0: it keeps its first."""
    precision: ValuePrecision = "float32"
    """What the values are rounded to, in training and in the file: bfloat16 ones take half the bytes."""
    initial: Initial = "linear"
    """Where k-means starts: see `kmeans`. Linear keeps the rare large weights, which matter most (section 3.1)."""

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` whose layers share their weights. ValueError for a weight that is not finite."""
        shared = copy_network(model)
        generator = context.generator()
        for weight, values in self.values_by_weight(shared, context).items():
            n_values = values if self.has_own_value(weight) else self._n_values(weight)
            self._share(weight.places, weight.name, n_values, generator)
            if self.values_bias:
                for module, tensor_name in biases_of(weight):
                    self._share(((module, tensor_name),), weight.name, self.values_bias, generator)
        return shared

    def _n_values(self, weight: Weight) -> int:
        return (self.values_conv if isinstance(weight.module, _ConvNd) else self.values_linear) or self.values

    def _share(self, places: Sequence[Place], name: str, n_values: int, generator: torch.Generator) -> None:
        (module, tensor_name), *others = places
        share_values(
            module,
            tensor_name,
            n_values,
            name=name,
            initial=self.initial,
            generator=generator,
            reassign=self.reassign,
            precision=self.precision,
            also=others,
        )
