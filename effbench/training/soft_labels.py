"""The loss of a student: between the labels that are true and those that a teacher gives."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from effbench.tasks import Task
from effbench.training.losses import Criterion


class SoftLabelLoss:
    """(1 - weight) · task's loss + weight · T² · KL(teacher_T ‖ student_T), the mean over a batch.

    teacher_T and student_T are softmax(logits / T). The factor T² keeps the share of the soft labels in the gradient
    about the same whatever the temperature T (Hinton et al. 2015, arXiv:1503.02531, section 2).

    teacher: logits (n_examples, n_classes, …), a row for each number of an example. labels: the targets,
    (n_examples, …); not needed with weight = 1, as the teacher is not with weight = 0. An example whose row of the
    teacher is NaN has no soft label, and learns its true one, whatever the weight. hard: in the place of the task's
    loss.
    """

    def __init__(
        self,
        *,
        task: Task,
        weight: float,
        temperature: float,
        teacher: Tensor,
        labels: Tensor,
        hard: Criterion | None = None,
    ) -> None:
        self.task = task
        self.hard = hard or task.loss
        self.weight = weight
        self.temperature = temperature
        self.teacher = F.log_softmax(teacher / temperature, dim=1)
        self.labels = labels
        has_gaps = bool(teacher.isnan().any())
        self.known = ~teacher.isnan().flatten(1).any(dim=1) if has_gaps else None

    def __call__(self, logits: Tensor, images: Tensor, numbers: Tensor) -> Tensor:
        """Return the mean loss of a batch: logits (n, n_classes, …), numbers (n,); see `training.loop.Loss`."""
        if self.known is not None:
            return self._with_gaps(logits, numbers, self.known[numbers])
        return self._of_known(logits, numbers)

    def _with_gaps(self, logits: Tensor, numbers: Tensor, known: Tensor) -> Tensor:
        n_known, n = int(known.sum()), len(numbers)
        if n_known == n:
            return self._of_known(logits, numbers)
        hard = self.hard(logits[~known], self.labels[numbers[~known]].long())
        if n_known == 0:
            return hard
        return (n_known * self._of_known(logits[known], numbers[known]) + (n - n_known) * hard) / n

    def _of_known(self, logits: Tensor, numbers: Tensor) -> Tensor:
        if self.weight == 1:
            return self._soft(logits, numbers)
        hard = self.hard(logits, self.labels[numbers].long())  # maps of classes are kept in a byte a pixel
        if self.weight == 0:
            return hard
        return (1 - self.weight) * hard + self.weight * self._soft(logits, numbers)

    def _soft(self, logits: Tensor, numbers: Tensor) -> Tensor:
        return self.task.distillation_loss(logits, self.teacher[numbers], temperature=self.temperature)
