"""Mixup and cutmix: torchvision's, one draw for each batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from effbench.training.options import TrainingOptions
from effbench.training.seeds import random_states_kept, seed_all, seed_for
from effbench.training.trainer import Loss

_PURPOSE = 1
"""Tells the seeds of batches from those of images."""


class Mixing:
    """Blends the examples of a batch, as its number and that of its epoch decide."""

    def __init__(self, options: TrainingOptions, n_classes: int, base: int) -> None:
        self.options, self.n_classes, self.base = options, n_classes, base

    def __call__(self, images: Tensor, labels: Tensor, epoch: int, batch: int) -> tuple[Tensor, Tensor]:
        """Return blended images and probabilities of classes: (n, channels, side, side), (n, n_classes)."""
        with random_states_kept():
            seed_all(seed_for(self.base, _PURPOSE, epoch, batch))
            mixed: tuple[Tensor, Tensor] = self._transform(self.n_classes)(images, labels)
        return mixed

    def by_number(self, images: Tensor, numbers: Tensor, epoch: int, batch: int) -> tuple[Tensor, Tensor]:
        """Return blended images, and of which examples they are: float32 (n, 3), see `BlendedLoss`."""
        n = len(numbers)
        with random_states_kept():
            seed_all(seed_for(self.base, _PURPOSE, epoch, batch))
            images, shares = self._transform(n)(images, torch.arange(n))
        own = shares.diagonal().clone()
        others = numbers[shares.fill_diagonal_(0).argmax(1)]  # a blend is of two; of one alone its share is 1
        return images, torch.stack([numbers.float(), others.float(), own], dim=1)

    def _transform(self, n_classes: int) -> Any:
        from torchvision.transforms import v2  # takes a second to import

        alphas = {"MixUp": self.options.mixup, "CutMix": self.options.cutmix}
        given = {name: alpha for name, alpha in alphas.items() if alpha is not None}
        kinds = [getattr(v2, name)(alpha=alpha, num_classes=n_classes) for name, alpha in given.items()]
        return kinds[0] if len(kinds) == 1 else v2.RandomChoice(kinds)


class BlendedLoss:
    """share · loss of one example + (1 - share) · loss of the other, for losses that know examples by their numbers.

    Of a teacher's soft labels that has the gradient of blended labels: cross-entropy is linear in them. Targets are
    [number, number of the other, share of the first], float32 (n, 3) (whole numbers up to 2**24 are exact), the share
    being the same for a whole batch; numbers alone, int64 (n,), are for the loss itself.
    """

    def __init__(self, loss: Loss) -> None:
        self.loss = loss

    def __call__(self, outputs: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a batch; see `training.trainer.Loss`."""
        if not targets.is_floating_point():
            return self.loss(outputs, images, targets)
        share = targets[0, 2]
        one, other = (self.loss(outputs, images, targets[:, place].long()) for place in (0, 1))
        return share * one + (1 - share) * other
