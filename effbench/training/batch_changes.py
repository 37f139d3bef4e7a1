"""What training does to its batches by the user's options, beyond what the data set does itself."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from effbench.data import ImageData
from effbench.data.base import Batches
from effbench.training.augmentation import Augmentation
from effbench.training.mixing import Mixing
from effbench.training.options import TrainingOptions


class BatchChanges:
    """Augments and mixes batches, by random numbers that only the seed, the epoch and the examples decide.

    by_number: whether the loss wants the examples' numbers in the place of their labels; of mixed ones what a
    `BlendedLoss` takes.
    """

    def __init__(
        self, options: TrainingOptions, data: ImageData, side: int, seed: int, /, *, by_number: bool = False
    ) -> None:
        self.data, self.by_number = data, by_number
        component, is_mixed = options.augmentation, options.mixup is not None or options.cutmix is not None
        self._augmentation = None if component is None else Augmentation(component, data, side, seed)
        self._mixing = Mixing(options, data.n_classes, seed) if is_mixed else None

    @property
    def are_none(self) -> bool:
        """Whether batches stay as they come."""
        return self._augmentation is None and self._mixing is None

    @property
    def leaves_images(self) -> bool:
        """Whether images are augmented as the data set does it, if at all."""
        return self._augmentation is None

    @property
    def asks_for_numbers(self) -> bool:
        """Whether batches are wanted with the examples' numbers in the place of their labels."""
        return self.by_number or self._augmentation is not None

    def of(self, batches: Batches, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch, changed; targets are numbers, labels, or probabilities (n, n_classes)."""
        for number, (images, targets) in enumerate(batches):
            if self._augmentation is not None:
                numbers = targets
                labels = self.data.labels["train"][numbers].long()
                images, labels = self._augmentation(images, labels, numbers, epoch)
                targets = numbers if self.by_number else labels
            if self._mixing is not None:
                mix = self._mixing.by_number if self.by_number else self._mixing
                images, targets = mix(images, targets, epoch, number)
            yield images, targets

    def labels_of(self, targets: Tensor) -> Tensor:
        """Return the labels of a batch's targets: of blended ones those of the larger share, or of the first."""
        if self.by_number:
            numbers = targets[:, 0].long() if targets.is_floating_point() else targets
            return self.data.labels["train"][numbers].long()
        return targets.argmax(1) if targets.is_floating_point() else targets
