"""Training as a stage: of the fresh network, or once more after a technique."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from effbench.compression.duplicate import duplicate
from effbench.plan.context import Context
from effbench.plan.stage import Stage
from effbench.training.loop import TrainingOptions, fit


@dataclass(frozen=True, kw_only=True)
class Train(Stage, TrainingOptions):
    """Train on the training split; constraints on the weights (masks, quantisers) hold throughout."""

    VERSION: ClassVar[int] = 3
    TRAINS: ClassVar[bool] = True

    @property
    def is_neutral(self) -> bool:
        """No epochs: nothing happens."""
        return self.epochs == 0

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a trained copy of `model`."""
        trained = duplicate(model)
        n_bytes = fit(
            trained,
            context.data,
            self,
            side=context.side,
            generator=context.generator(),
            device=context.device,
            progress=context.progress,
            watch=context.watch(trained),
            loss=lambda outputs, images, targets: context.task.loss(outputs, targets),
        )
        if n_bytes:
            context.findings.note_peak("train_memory_mb", n_bytes / 1e6)
        return trained
