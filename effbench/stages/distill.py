"""Distillation: training in which a teacher's soft labels stand beside the true ones, or in their place."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import nn

from effbench.compression.duplicate import duplicate
from effbench.data import ImageData
from effbench.data.pool import AugmentedPool, augmented_by
from effbench.data.unlabelled import with_unlabelled
from effbench.plan.context import Context
from effbench.plan.teacher import TeacherRequest
from effbench.plan.training_stage import TrainingStage
from effbench.tasks import Task
from effbench.training.hints import HintLoss, hinted, read_pairs
from effbench.training.label_files import Kind, read_labels
from effbench.training.loop import TrainingOptions
from effbench.training.losses import Criterion, make_criterion
from effbench.training.mixing import BlendedLoss
from effbench.training.soft_labels import SoftLabelLoss


@dataclass(frozen=True, kw_only=True)
class Distill(TrainingStage):
    """Train on a teacher's labels (Hinton et al. 2015, arXiv:1503.02531, section 2); see `SoftLabelLoss`.

    The teacher labels the training split once, un-augmented; the labels are kept and serve every student. With `hints`
    a first part of the epochs trains inner layers alone (FitNets: Romero et al. 2014, arXiv:1412.6550, section 2.2);
    there the teacher runs on the images as the student sees them. Constraints on the weights hold throughout.
    """

    VERSION: ClassVar[int] = 3

    weight: Annotated[float, Field(ge=0, le=1, description="0 is no soft labels, 1 no true ones")]
    """Of the soft labels; 0 is plain training, 1 never looks at a true label."""
    temperature: Annotated[float, Field(gt=0)] = 4.0
    """Divides the logits of both; larger ones tell more of what the teacher thinks of the wrong classes."""
    teacher: Annotated[str, Field(pattern=r"\S", description="reference, wide, a network or a weights file")] = (
        "reference"
    )
    """`reference`: the point's own reference; `wide`: the same, `teacher_alpha` wide; the name of another network, such
    as small_cnn, resnet50, timm:resnet10t or my_nets:net, trained once as the reference is, or with weights behind it,
    as in resnet50:best.pth, as it is; or a file with a state_dict of the reference's network."""
    labels: str | None = None
    """A file of labels in the place of a teacher: a row for each training example, a column for each class; see
    `effbench.training.label_files`. An example whose row is NaN trains on its true label alone."""
    labels_are: Kind = "auto"
    """What the file holds; `auto`: as it says itself, or probabilities where rows sum to 1."""
    labels_digest: str | None = None
    """Of the file's content, when the sweep was planned: filled in when the file is checked."""
    teacher_alpha: float | None = None
    """Width multiplier of the teacher's network; None: that of the reference."""
    teacher_fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the training split that the teacher is trained on; None: as much as the reference is."""
    teacher_epochs: Annotated[int, Field(ge=0)] | None = None
    """Of another network as teacher; None: as many as the reference is trained for, before any finetuning."""
    teacher_seed: Annotated[int, Field(ge=0)] | None = None
    """Of another network as teacher: one teacher for the students of every seed; None: each seed has its own."""
    augment: str | None = None
    """How the pool's copies are augmented, and what another network as teacher is trained with; None: as the data."""
    pool: Annotated[int, Field(ge=0)] = 0
    """Augmented copies of each image, drawn once, that have soft labels of their own. Training takes its images from
    them; 0: images are augmented anew every time, and have the label of the un-augmented one."""
    hints: str = "none"
    """Paths of modules as in features.relu4:features.relu4 (student:teacher), several joined by +; or none."""
    hint_epochs: Annotated[int, Field(ge=0)] = 2
    """How many of the epochs go to the hints, where there are any."""

    def __post_init__(self) -> None:
        """Refuse what can't be learned from."""
        super().__post_init__()
        self._check_labels()
        if (self.teacher == "reference" and self.teacher_alpha is not None) or (
            self.teacher == "wide" and self.teacher_alpha is None
        ):
            raise ValueError(
                f"teacher_alpha={self.teacher_alpha}: must be a width multiplier with teacher=wide, "
                "and null with teacher=reference"
            )
        if read_pairs(self.hints) and not (self.is_neutral or 0 < self.hint_epochs < self.epochs):
            raise ValueError(f"hint_epochs={self.hint_epochs}: must be 1 to {self.epochs - 1}, fewer than the epochs")
        if read_pairs(self.hints) and self.freeze:
            raise ValueError(f"hints={self.hints}: must be none with freeze: hints train what comes before the outputs")

    def _check_labels(self) -> None:
        """Refuse labels beside a teacher, or beside what needs one."""
        if self.labels is None:
            return
        beside = {
            "teacher": self.teacher != "reference",
            "teacher_alpha": self.teacher_alpha is not None,
            "teacher_fraction": self.teacher_fraction is not None,
            "teacher_epochs": self.teacher_epochs is not None,
            "teacher_seed": self.teacher_seed is not None,
            "hints": self.hints != "none",
            "pool": self.pool != 0,
        }
        for name, is_given in beside.items():
            if is_given:
                raise ValueError(
                    f"labels={self.labels}: stand in the place of a teacher; leave out {name}={getattr(self, name)}"
                )

    def with_checked_labels(self, data: ImageData, /) -> Distill:
        """Return the stage with the digest of its labels' file. ValueError where that is not for these data."""
        assert self.labels is not None
        read_labels(self.labels, self.labels_are).check(self.taught_images(data), path=self.labels)
        return dataclasses.replace(self, labels_digest=_digest(self.labels))

    def identity(self) -> dict[str, Any]:
        """Return what decides the result: of labels, what is in their file, wherever it lies."""
        identity = super().identity()
        fields = {name: value for name, value in identity["fields"].items() if name != "labels"}
        return {**identity, "fields": fields} if self.labels_digest else identity

    @property
    def teacher_request(self) -> TeacherRequest:
        """Return which teacher it learns from."""
        return TeacherRequest(
            name=self.teacher,
            alpha=self.teacher_alpha,
            fraction=self.teacher_fraction,
            epochs=self.teacher_epochs,
            seed=self.teacher_seed,
            augment=self.augment,
            labels=self.labels,
        )

    def check_training(self, task: Task, data: ImageData, /, *, side: int, shapes: Collection[tuple[int, ...]]) -> None:
        """Refuse also transforms that do not go with a teacher's labels, which are of the images as they are."""
        if self.augmentation is not None and self.weight:
            if self.pool:
                raise ValueError(f"pool={self.pool}: must be 0 with train.augment, which makes images anew each time")
            if data.labels["train"].ndim > 1:
                raise ValueError("augment: must be null with distill where each pixel has a class")
        super().check_training(task, data, side=side, shapes=shapes)

    @property
    def parts(self) -> tuple[TrainingOptions, ...]:
        """The training by hints, where there is one, and that by labels."""
        options = self.training_options
        if not (read_pairs(self.hints) and self.weight and self.epochs):
            return (options,)
        # What the outputs are judged by is the teacher's hints, not labels: only how the weights move is as later.
        by_hints = dataclasses.replace(
            options,
            epochs=self.hint_epochs,
            warm_up_epochs=None,
            loss=None,
            label_smoothing=0.0,
            stop_after=None,
            keep="last",
        )
        n_epochs = self.epochs - self.hint_epochs
        warm_up = None if self.warm_up_epochs is None else min(self.warm_up_epochs, n_epochs)
        return by_hints, dataclasses.replace(options, epochs=n_epochs, warm_up_epochs=warm_up)

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a trained copy of `model`. ValueError where teacher or hints don't fit it."""
        student = duplicate(model)
        generator = context.generator()
        data = self.taught_images(context.data)
        data = self._pool(data) if self.pool and self.weight else data
        *by_hints, options = self.parts
        for part in by_hints:
            self._take_hints(student, data, context, generator, part)
        criterion = make_criterion(self, context.task, context.data, context.device)
        loss = None if self.weight == 0 else self._loss(data, context, criterion)
        self.train(
            student,
            data,
            context,
            options=options,
            generator=generator,
            loss=(lambda outputs, images, targets: criterion(outputs, targets)) if loss is None else BlendedLoss(loss),
            by_number=loss is not None,
        )
        return student

    def taught_images(self, data: ImageData, /) -> ImageData:
        """Return the images that soft labels are of: those without a true label too, where none is looked at."""
        return with_unlabelled(data) if self.weight == 1 else data

    def _pool(self, data: ImageData) -> ImageData:
        return AugmentedPool.of(data if self.augment is None else augmented_by(data, self.augment), n_copies=self.pool)

    def _loss(self, data: ImageData, context: Context, criterion: Criterion) -> SoftLabelLoss:
        device = context.device
        if self.labels is None:
            logits = context.teacher().logits(data, device=device).to(device)
        else:
            logits = self.given_logits().to(device)
        needs_labels = self.weight < 1 or bool(logits.isnan().any())
        labels = data.labels["train"].to(device) if needs_labels else torch.empty(0)
        return SoftLabelLoss(
            task=context.task,
            weight=self.weight,
            temperature=self.temperature,
            teacher=logits,
            labels=labels,
            hard=criterion,
        )

    def given_logits(self) -> torch.Tensor:
        """Return the labels of the file. ValueError where it was changed since the sweep was planned."""
        assert self.labels is not None
        labels = read_labels(self.labels, self.labels_are)
        if self.labels_digest not in (None, _digest(self.labels)):
            raise ValueError(f"{self.labels} was changed after the sweep was planned; begin the sweep again")
        return labels.logits

    def _take_hints(
        self,
        student: nn.Module,
        data: ImageData,
        context: Context,
        generator: torch.Generator,
        options: TrainingOptions,
    ) -> None:
        pairs = read_pairs(self.hints)
        teacher = context.teacher().network()
        images, _ = next(iter(data.batches("train", side=context.side, batch_size=2)))
        guided = hinted(student, teacher, pairs, images, generator=generator)
        loss = HintLoss(teacher.to(context.device), [path for _, path in pairs], guided.hint_sides)
        self.train(
            guided,
            data,
            context,
            options=options,
            generator=generator,
            loss=BlendedLoss(loss),
            by_number=True,
            has_quality=False,
            part="hints",
            beside=teacher,
        )


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).expanduser().read_bytes()).hexdigest()[:16]
