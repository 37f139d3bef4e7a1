"""The loss of a student: between the labels that are true and those that a teacher gives."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


class SoftLabelLoss:
    """(1 - weight) · cross-entropy + weight · T² · KL(teacher_T ‖ student_T), the mean over a batch.

    teacher_T and student_T are softmax(logits / T). The factor T² keeps the share of the soft labels in the gradient
    about the same whatever the temperature T (Hinton et al. 2015, arXiv:1503.02531, section 2).

    teacher: logits (n_examples, n_classes), a row for each number of an example. labels: int64 (n_examples,); never
    looked at with weight = 1, and the teacher never with weight = 0.
    """

    def __init__(self, *, weight: float, temperature: float, teacher: Tensor, labels: Tensor) -> None:
        self.weight = weight
        self.temperature = temperature
        self.teacher = F.log_softmax(teacher / temperature, dim=1)
        self.labels = labels

    def __call__(self, logits: Tensor, images: Tensor, numbers: Tensor) -> Tensor:
        """Return the mean loss of a batch: logits (n, n_classes), numbers (n,); see `effbench.training.loop.Loss`."""
        if self.weight == 1:
            return self._soft(logits, numbers)
        hard = F.cross_entropy(logits, self.labels[numbers])
        if self.weight == 0:
            return hard
        return (1 - self.weight) * hard + self.weight * self._soft(logits, numbers)

    def _soft(self, logits: Tensor, numbers: Tensor) -> Tensor:
        student = F.log_softmax(logits / self.temperature, dim=1)
        divergence = F.kl_div(student, self.teacher[numbers], log_target=True, reduction="batchmean")
        return self.temperature**2 * divergence
