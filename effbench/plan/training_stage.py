"""What all stages that train have in common: the options of training, and the way to the loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from effbench.data import ImageData
from effbench.plan.components import TargetComponent
from effbench.plan.context import Context
from effbench.plan.stage import Stage
from effbench.tasks import Task
from effbench.training.augmentation import Augmentation, pixel_statistics
from effbench.training.length import Length
from effbench.training.loop import Fit, Loss, TrainingOptions, fit
from effbench.training.losses import make_criterion
from effbench.training.optimizers import check_optimizer
from effbench.training.schedules import check_schedule

COMPONENTS = ("optimizer", "scheduler", "loss", "augmentation")
"""The options that name a class."""
_COMPOSE = "torchvision.transforms.v2.Compose"


@dataclass(frozen=True, kw_only=True)
class TrainingStage(Stage, TrainingOptions):
    """A stage that trains: constraints on the weights (masks, quantisers) hold throughout."""

    TRAINS: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Take classes by their names, and refuse what can't be trained with."""
        for name in COMPONENTS:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _component_at(name, value))
        super().__post_init__()
        TrainingOptions.__post_init__(self)

    @property
    def is_neutral(self) -> bool:
        """No epochs: nothing happens."""
        return self.epochs == 0

    @property
    def parts(self) -> tuple[TrainingOptions, ...]:
        """How it trains: one training after the other."""
        return (self,)

    @property
    def training_options(self) -> TrainingOptions:
        """How it trains, without what else the stage is."""
        names = [field.name for field in dataclasses.fields(TrainingOptions)]
        return TrainingOptions(**{name: getattr(self, name) for name in names})

    def check_training(self, task: Task, data: ImageData, /, *, side: int, shapes: Collection[tuple[int, ...]]) -> None:
        """Try out all that the options name, before anything starts. ValueError begins with the option.

        shapes: of the network's parameters, no larger than need be.
        """
        check_optimizer(self, shapes)
        for part in self.parts:
            check_schedule(part, Length.of(part, data))
        make_criterion(self, task, data, torch.device("cpu"))
        if self.augmentation is not None:
            Augmentation(self.augmentation, data, side)

    def train(
        self,
        model: nn.Module,
        data: ImageData,
        context: Context,
        /,
        *,
        options: TrainingOptions | None = None,
        generator: torch.Generator,
        loss: Loss,
        by_number: bool = False,
        has_quality: bool = True,
        part: str = "",
        beside: nn.Module | None = None,
    ) -> Fit:
        """Train `model` in place, and note what the run says of it. options: in the place of the stage's own.

        has_quality: whether the outputs are what the task judges. part and beside: see `plan.context.BeginWatch`.
        """
        watch = context.watch(model, part, scored=has_quality, beside=beside)
        outcome = fit(
            model,
            data,
            options or self,
            side=context.side,
            generator=generator,
            device=context.device,
            progress=context.progress,
            loss=loss,
            by_number=by_number,
            validate=context.validate if has_quality else None,
            count=watch.count,
            on_epoch=watch.on_epoch,
            checkpoint=watch,
            code_length=context.code_length if has_quality else None,
        )
        if outcome.peak_bytes:
            context.findings.note_peak("train_memory_mb", outcome.peak_bytes / 1e6)
        if self.augmentation is not None and pixel_statistics(data) is None:
            context.findings.say(f"augmented/{context.step}", "normalised images: the data set has no mean and std")
        if outcome.best_epoch:
            context.findings.note(f"epochs_done/{context.step}", outcome.n_epochs)
            context.findings.note(f"best_epoch/{context.step}", outcome.best_epoch)
            context.findings.say(f"stopped_by/{context.step}", "stop_after" if outcome.stopped_early else "epochs")
        return outcome


def component_of(name: str, value: Any, /) -> TargetComponent:
    """Return what an option names (a list of transforms: all in turn). ValueError begins with the option, `name`."""
    if name == "augment" and isinstance(value, list | tuple):
        if not value:
            raise ValueError("augment=[]: must be null, or name at least one transform")
        value = {"_target_": _COMPOSE, "transforms": [_one_of_several(entry) for entry in value]}
    try:
        return TargetComponent.read(value)
    except ValueError as error:
        raise ValueError(f"{name}{error}") from None


def _component_at(field: str, value: Any) -> TargetComponent:
    """Return what a field names. ValueError begins with the field."""
    option = field.replace("augmentation", "augment")
    try:
        return component_of(option, value)
    except ValueError as error:
        raise ValueError(f"{field}{str(error).removeprefix(option)}") from None


def _one_of_several(value: Any) -> Any:
    return value if isinstance(value, Mapping | TargetComponent) else {"_target_": value}
