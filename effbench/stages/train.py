"""Training as a stage: of the fresh network, or once more after a technique."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from effbench.compression.duplicate import duplicate
from effbench.plan.context import Context
from effbench.plan.training_stage import TrainingStage
from effbench.training.losses import make_criterion


@dataclass(frozen=True, kw_only=True)
class Train(TrainingStage):
    """Train on the training split; constraints on the weights (masks, quantisers) hold throughout."""

    VERSION: ClassVar[int] = 3

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a trained copy of `model`."""
        trained = duplicate(model)
        criterion = make_criterion(self, context.task, context.data, context.device)
        self.train(
            trained,
            context.data,
            context,
            generator=context.generator(),
            loss=lambda outputs, images, targets: criterion(outputs, targets),
        )
        return trained
