"""Quantisation of the weights: after training, or during it when the recipe trains on afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from torch import nn

from effbench.compression.constraints.copies import copy_network
from effbench.compression.grids import GridOptions
from effbench.plan.context import Context
from effbench.plan.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Quantize(Stage, GridOptions):
    """Round the weights to `bits` bits (arXiv:1806.08342, sections 2 and 3).

    Weights are those of convolutions, linear layers, attention and recurrent layers.

    The grid is a constraint: where a recipe finetunes after this stage, training is quantisation-aware (the forward
    pass sees rounded weights, gradients pass straight through). Biases and batch norms stay in float32
    (`FoldBatchNorm` folds these first).

    scheme=kmeans is not uniform: each layer has its own 2^bits values (beside zero, for what was pruned), found by
    k-means as by the stage `Share` (Han et al. 2015, arXiv:1510.00149, section 3). Finetuning then trains the values;
    which weight has which stays.
    """

    VERSION: ClassVar[int] = 2
    LAYER_FIELD: ClassVar[str | None] = "bits"

    bits: Annotated[int, Field(ge=1, le=16)]
    """Width of a weight; one bit is a scaled sign. 2 for a ternary scheme, 2 to 8 for powers of two."""

    def __post_init__(self) -> None:
        """Refuse what is no width or no grid."""
        super().__post_init__()
        self.check_grid()
        self.check_bits(self.bits, shown=f"bits={self.bits}")

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` whose weights are on their grids."""
        quantized = copy_network(model)
        for weight, bits in self.values_by_weight(quantized, context).items():
            # In a later round it may be there already.
            self.put_on_grid(weight, bits, generator=context.generator())
        return quantized
