"""What every task offers to training, evaluation and distillation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from effbench.analysis.curves.counts import QualityKind
from effbench.analysis.curves.quality import Quality
from effbench.data.base import ImageData


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """What a network is for: a loss, and per example a few counts from whose sums its quality follows.

    `outputs` are what a network makes of a batch, in float32; `targets` the labels of its examples, on the same device.
    """

    name: ClassVar[str]
    VERSION: ClassVar[int]
    """Bumped when equal outputs get another loss or other counts."""
    BLENDS: ClassVar[bool] = False
    """Whether two examples can be blended, labels and all (mixup, cutmix)."""

    @abstractmethod
    def quality(self, data: ImageData, /) -> Quality:
        """Return what the task calls good on these data, and what the best constant answer gets on validation."""

    @abstractmethod
    def kinds(self, data: ImageData, /) -> dict[str, QualityKind]:
        """Return, for each name that `counts` gives, how a quality follows from its summed counts."""

    def n_outputs(self, data: ImageData, /) -> int:
        """Return the number of classes to build a network with."""
        return data.n_classes

    @abstractmethod
    def check_outputs(self, outputs: object, data: ImageData, /, *, side: int) -> None:
        """Refuse what a network gives for one image of `side` pixels, where it doesn't fit the task.

        ValueError in one line that goes on from the network's name: "must give …, but gives …".
        """

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor, /) -> Tensor:
        """Return the mean loss of a batch, ()."""

    def smoothed_loss(self, outputs: Tensor, targets: Tensor, /, *, smoothing: float) -> Tensor:
        """Return the mean loss of a batch with labels smoothed by so much, (). ValueError where the task has none such.

        Where the task `BLENDS`, targets may also be probabilities of classes, float (n, n_classes).
        """
        raise ValueError(f"label_smoothing={smoothing:g}: must be 0, as task={self.name} has no such loss")

    def comparable(self, outputs: Tensor, targets: Tensor, /) -> Tensor:
        """Return outputs in the form in which a loss of torch's compares them with the targets, (n, n_classes, …)."""
        return outputs

    @abstractmethod
    def summed_loss(self, outputs: Tensor, targets: Tensor, /) -> Tensor:
        """Return the sum of the examples' losses, ()."""

    @abstractmethod
    def distillation_loss(self, outputs: Tensor, teacher: Tensor, /, *, temperature: float) -> Tensor:
        """Return T² · KL(teacher_T ‖ student_T), the mean over a batch, (); Hinton et al. 2015, arXiv:1503.02531.

        teacher: the logarithms of the teacher's probabilities at the temperature T, shaped as its outputs.
        """

    @abstractmethod
    def counts(self, outputs: Tensor, targets: Tensor, /) -> dict[str, Tensor]:
        """Return each example's counts by the quality's name, the task's own quality first.

        int64 (n, n_ratios, 2): numerators and denominators, which are summed over examples before any division.
        """

    @abstractmethod
    def examples(self, outputs: Tensor, targets: Tensor, /) -> dict[str, Tensor]:
        """Return what else is known of each example, (n,) each; {} where there is nothing."""


def shape_of(outputs: object, /) -> str:
    """Return what a network gave, in words, as in "shape (1, 5)" or "a dict"."""
    return f"shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
