"""Mixup and cutmix: torchvision's, one draw for each batch."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from torch import Tensor

from effbench.training.options import TrainingOptions
from effbench.training.seeds import random_states_kept, seed_all, seed_for

_PURPOSE = 1
"""Tells the seeds of batches from those of images."""


class Mixing:
    """Blends the examples of a batch: (n, channels, side, side) and (n,) become as many images and (n, n_classes)."""

    def __init__(self, options: TrainingOptions, n_classes: int, base: int) -> None:
        self.options, self.n_classes, self.base = options, n_classes, base

    @cached_property
    def _transform(self) -> Any:
        from torchvision.transforms import v2  # takes a second to import

        made = {"MixUp": self.options.mixup, "CutMix": self.options.cutmix}
        kinds = [
            getattr(v2, name)(alpha=alpha, num_classes=self.n_classes)
            for name, alpha in made.items()
            if alpha is not None
        ]
        return kinds[0] if len(kinds) == 1 else v2.RandomChoice(kinds)

    def __call__(self, images: Tensor, targets: Tensor, epoch: int, batch: int) -> tuple[Tensor, Tensor]:
        """Return a batch blended, as its number and that of its epoch decide."""
        with random_states_kept():
            seed_all(seed_for(self.base, _PURPOSE, epoch, batch))
            mixed: tuple[Tensor, Tensor] = self._transform(images, targets)
        return mixed
