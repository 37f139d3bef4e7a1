"""Batch norms folded into the layers before them: done to points and references alike, no technique of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from effbench.compression.constraints.copies import copy_network
from effbench.compression.structure.batch_norms import fold_batch_norms
from effbench.plan.context import Context
from effbench.plan.stage import Stage


@dataclass(frozen=True, kw_only=True)
class FoldBatchNorm(Stage):
    """Fold batch norms for good, so that what is quantised afterwards are the weights that an engine would use.

    Which can be folded, and how: `effbench.compression.structure.batch_norms`. What trains afterwards trains a network
    without them.
    """

    VERSION: ClassVar[int] = 1
    FORMS_THE_NETWORK: ClassVar[bool] = True

    enabled: bool = False

    @property
    def is_neutral(self) -> bool:
        """Nothing is folded."""
        return not self.enabled

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` without the batch norms that can be folded."""
        folded = copy_network(model)
        if self.enabled:
            fold_batch_norms(folded, context.example())
        return folded
