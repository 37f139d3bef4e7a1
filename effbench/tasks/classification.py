"""One class for each image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from effbench.analysis.curves.counts import QualityKind
from effbench.analysis.curves.quality import Quality
from effbench.data.base import ImageData
from effbench.tasks.base import Task, shape_of

N_TOP = 5


@dataclass(frozen=True, kw_only=True)
class Classification(Task):
    """Outputs are scores (logits), (n, n_classes); targets classes, int64 (n,). Quality is the share that is correct.

    `accuracy_top5`, with more than five classes, counts an example whose class has one of the five highest scores. Of
    equal scores the first class's counts as the higher one.
    """

    name: ClassVar[str] = "classification"
    VERSION: ClassVar[int] = 1
    BLENDS: ClassVar[bool] = True

    def quality(self, data: ImageData, /) -> Quality:
        """Return accuracy; chance is the share of the largest class."""
        labels = data.labels["val"]
        chance = int(torch.bincount(labels).max()) / len(labels)
        return Quality(name="accuracy", kind="ratio", unit="points", direction="higher", chance=chance)

    def kinds(self, data: ImageData, /) -> dict[str, QualityKind]:
        """Return "ratio" for accuracy and, with more than five classes, accuracy_top5."""
        return {"accuracy": "ratio", "accuracy_top5": "ratio"} if data.n_classes > N_TOP else {"accuracy": "ratio"}

    def check_outputs(self, outputs: object, data: ImageData, /, *, side: int) -> None:
        """Refuse what is not (1, n_classes)."""
        if not isinstance(outputs, Tensor) or outputs.shape != (1, data.n_classes):
            raise ValueError(f"must give (1, {data.n_classes}) scores for one image, but gives {shape_of(outputs)}")

    def loss(self, outputs: Tensor, targets: Tensor, /) -> Tensor:
        """Return the mean cross-entropy in nats."""
        return F.cross_entropy(outputs, targets)

    def smoothed_loss(self, outputs: Tensor, targets: Tensor, /, *, smoothing: float) -> Tensor:
        """Return the mean cross-entropy with smoothed labels; targets: classes, or probabilities (n, n_classes)."""
        return F.cross_entropy(outputs, targets, label_smoothing=smoothing)

    def summed_loss(self, outputs: Tensor, targets: Tensor, /) -> Tensor:
        """Return the sum of the examples' cross-entropies in nats."""
        return F.cross_entropy(outputs, targets, reduction="sum")

    def distillation_loss(self, outputs: Tensor, teacher: Tensor, /, *, temperature: float) -> Tensor:
        """Return T² · KL(teacher_T ‖ student_T), the mean over a batch; teacher: log-probabilities (n, n_classes)."""
        student = F.log_softmax(outputs / temperature, dim=1)
        return temperature**2 * F.kl_div(student, teacher, log_target=True, reduction="batchmean")

    def counts(self, outputs: Tensor, targets: Tensor, /) -> dict[str, Tensor]:
        """Return (n, 1, 2): whether an example is correct, and 1."""
        correct = outputs.argmax(1) == targets
        counts = {"accuracy": _shares(correct)}
        if outputs.shape[1] > N_TOP:
            highest = outputs.sort(dim=1, descending=True, stable=True).indices[:, :N_TOP]
            counts["accuracy_top5"] = _shares((highest == targets[:, None]).any(1))
        return counts

    def examples(self, outputs: Tensor, targets: Tensor, /) -> dict[str, Tensor]:
        """Return each example's class (`group`), its predicted class and the probability of that (`confidence`)."""
        confidence = outputs.softmax(1).max(1).values
        return {"group": targets, "predicted": outputs.argmax(1), "confidence": confidence}


def _shares(correct: Tensor) -> Tensor:
    """Return [correct, 1] of each example: bool (n,) to int64 (n, 1, 2)."""
    return torch.stack([correct.long(), torch.ones_like(correct, dtype=torch.int64)], dim=1)[:, None]
