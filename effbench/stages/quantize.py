"""Quantisation of the weights: after training, or during it when the recipe trains on afterwards."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from effbench.checks.text import few_names
from effbench.compression.constraints.copies import copy_network
from effbench.compression.feedback import takes_feedback
from effbench.compression.grids import GridOptions
from effbench.compression.layers import Weight, tables_of
from effbench.plan.context import Context
from effbench.plan.layer_values import SKIP
from effbench.plan.stage import Stage, note_share
from effbench.training.input_moments import Moments, input_moments


@dataclass(frozen=True, kw_only=True)
class Quantize(Stage, GridOptions):
    """Round the weights to `bits` bits (arXiv:1806.08342, sections 2 and 3).

    Weights are those of convolutions, linear layers, attention and recurrent layers. Tables are rounded as well:
    embeddings, position tables, class tokens (`compression.layers.tables_of`), to the nearest level, with one grid for
    each entry of their first dimension; a pattern of `layers` that meets a table's name counts for it.

    The grid is a constraint: where a recipe finetunes after this stage, training is quantisation-aware (the forward
    pass sees rounded weights, gradients pass straight through). Biases and batch norms stay in float32
    (`FoldBatchNorm` folds these first).

    scheme=kmeans is not uniform: each layer has its own 2^bits values (beside zero, for what was pruned), found by
    k-means as by the stage `Share` (Han et al. 2015, arXiv:1510.00149, section 3). Finetuning then trains the values;
    which weight has which stays.

    rounding=feedback rounds the weights of a layer one input after the other, and lets those that are left make good
    for what the layer's output lost so far (GPTQ, arXiv:2210.17323, section 3; `compression.feedback`), on `examples`
    training examples without their labels. What shows no inputs (recurrent layers, transposed convolutions, more than
    8,192 inputs), has one bit, or is under another constraint than a mask is rounded to the nearest level; where there
    is such, `feedback_share/<step>` is the share of the weights with feedback.
    """

    VERSION: ClassVar[int] = 2
    LAYER_FIELD: ClassVar[str | None] = "bits"
    ACTS_ON_TABLES: ClassVar[bool] = True

    bits: Annotated[int, Field(ge=1, le=16)]
    """Width of a weight; one bit is a scaled sign. 2 for a ternary scheme, 2 to 8 for powers of two."""

    rounding: Literal["nearest", "feedback"] = "nearest"
    """To which level a weight goes."""
    examples: Annotated[int, Field(ge=1)] = 1000
    """Of rounding=feedback: training examples seen; all of them where there are fewer."""
    tables: bool | Literal["auto"] = "auto"
    """Whether tables are rounded; auto: where there are any, which a key then says."""

    def __post_init__(self) -> None:
        """Refuse what is no width or no grid."""
        super().__post_init__()
        self.check_grid()
        if self.rounding == "feedback" and self.scheme not in ("symmetric", "affine"):
            raise ValueError(f"rounding=feedback: must be nearest with scheme={self.scheme}, whose levels are not even")
        self.check_bits(self.bits, shown=f"bits={self.bits}")

    def for_network(self, network: nn.Module, images: Tensor, /) -> Quantize:
        """Return the stage, with `tables` true for a network that has such."""
        if self.tables == "auto" and any(True for _ in tables_of(network)):
            return dataclasses.replace(self, tables=True)
        return self

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` whose weights are on their grids."""
        quantized = copy_network(model)
        bits_of = self.values_by_weight(quantized, context)
        moments = self._moments(quantized, bits_of, context) if self.rounding == "feedback" else {}
        for weight, bits in bits_of.items():
            # In a later round it may be there already.
            if weight.name in moments:
                self.put_on_grid_with_feedback(weight, bits, moments[weight.name])
            else:
                self.put_on_grid(weight, bits, generator=context.generator())
        tables = list(tables_of(quantized)) if self.tables is not False else []
        values = {table: next(self._own_values(table), self.bits) for table in tables}
        values = {table: bits for table, bits in values.items() if bits != SKIP}
        for table, bits in values.items():
            self.put_on_grid(table, bits, generator=context.generator())
        if values:
            acted = [name for weight in (*bits_of, *values) for name in weight.names]
            context.findings.say(f"tables/{context.step}", few_names([table.name for table in values]))
            self.say_share(acted, quantized, context)
        return quantized

    def _moments(self, network: nn.Module, bits_of: Mapping[Weight, int], context: Context) -> Moments:
        """Return what weights are multiplied with, where that is to be asked, and note the share of which it is known.

        Of those that are on their grid already nothing is asked, nor said.
        """
        new = [weight for weight, bits in bits_of.items() if not self.is_on_grid(weight, bits)]
        asked = [weight for weight in new if bits_of[weight] > 1 and takes_feedback(weight)]
        if not asked:
            moments: Moments = {}
        else:
            moments = input_moments(network, asked, context.training_images(self.examples), device=context.device)
        note_share("feedback_share", moments, new, context)
        return moments
