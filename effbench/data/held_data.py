"""A data set whose images are held in memory, in a file, or nowhere: the same batches, to the bit, from each."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from effbench.data.augment import Augmentation, augmented
from effbench.data.base import SPLITS, Batches, ImageData, Pass, Split
from effbench.data.held_images import Images, OnDisk, in_order


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldData(ImageData):
    """Square images of one size, resized and augmented as `InMemoryData` does, wherever they are held.

    `mean` and `std` are per channel, in units of the full range of uint8; None: the network sees the images, float32,
    as they are.
    """

    images: Mapping[Split, Images] = field(repr=False)
    """Of each split, and of any side: `side` need not be theirs."""
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    augment: Augmentation = "none"
    content: str | None = None
    """A digest of every image, label and split, where it is known; None: it is taken from the images."""

    def __post_init__(self) -> None:
        """Check the options. ValueError."""
        if self.side < 1:
            raise ValueError(f"data.side={self.side}: must be 1 or more")
        if self.augment not in get_args(Augmentation):
            raise ValueError(f"data.augment={self.augment}: must be {', '.join(get_args(Augmentation))}")
        if self.augment != "none" and self.labels["train"].ndim != 1:
            raise ValueError(f"data.augment={self.augment}: must be none where each pixel has a class")

    @cached_property
    def fingerprint(self) -> str:
        """A digest of every pixel, label and split, and of what is done to them; not of the name nor of the holding.

        Without `content` it is that of `InMemoryData` with the same images.
        """
        if self.content is not None:
            return hashlib.sha256(repr((self.content, self.side, self.augment)).encode()).hexdigest()[:16]
        digest = hashlib.sha256(repr((self.n_classes, self.mean, self.std, self.side, self.augment)).encode())
        for split in SPLITS:
            images = self.images[split]
            images = images.as_planned if isinstance(images, OnDisk) else images
            digest.update(f"{split} {images.shape}".encode())
            for batch in in_order(images):
                digest.update(batch.contiguous().numpy().data)
            digest.update(self.labels[split].contiguous().numpy().data)
        return digest.hexdigest()[:16]

    def augmented_by(self, augment: str, /) -> HeldData:
        """Return the same data under another augmentation. ValueError for one that there is not."""
        return dataclasses.replace(self, augment=cast(Augmentation, augment))

    def _batches(self, wanted: Pass, /) -> Batches:
        images, labels = self.images[wanted.split], self.labels[wanted.split]
        numbers = torch.split(wanted.examples(len(labels)), wanted.batch_size)
        for chosen, batch in zip(numbers, images.batches(numbers), strict=True):
            if wanted.side != images.shape[-1]:
                batch = F.interpolate(batch, size=(wanted.side, wanted.side), mode="bilinear", antialias=True)
            if wanted.augmented:
                assert wanted.generator is not None
                batch = augmented(batch, self.augment, wanted.generator)
            targets = chosen if wanted.numbered else labels.index_select(0, chosen).long()
            yield self._normalised(batch), targets

    def _normalised(self, batch: Tensor) -> Tensor:
        if self.mean is None or self.std is None:
            return batch
        mean, deviation = (255 * torch.tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return batch.float().sub_(mean).div_(deviation)
