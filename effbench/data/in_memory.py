"""Small data sets, held in memory as one tensor a split: no worker processes, no per-sample Python."""

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


@dataclass(frozen=True, kw_only=True, eq=False)
class InMemoryData(ImageData):
    """Images as uint8 tensors (n, channels, side, side) and their labels, one pair of tensors a split.

    Labels are classes, int64 (n,), or a class for each pixel, uint8 or int64 (n, side, side); the latter can't be
    augmented.

    `mean` and `std` are per channel, in units of the full pixel range. `augment` is applied to shuffled batches only:
    crop_flip shifts by up to an eighth of the side and mirrors left to right, affine turns, scales, shears and shifts a
    little (see `effbench.data.augment`).
    """

    channels: int = field(init=False)
    """As the images have them."""
    images: Mapping[Split, Tensor] = field(repr=False)
    """Of any side: `side` need not be theirs."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: Augmentation = "none"
    _resized: dict[tuple[Split, int], Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Check that the parts belong together."""
        for split in SPLITS:
            images = self.images[split]
            if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[2] != images.shape[3]:
                raise ValueError(f"{split} images must be uint8 (n, channels, side, side), got {tuple(images.shape)}")
            self._check_labels(split)
        object.__setattr__(self, "channels", self.images["train"].shape[1])
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(f"mean={self.mean}, std={self.std}: must be {self.channels} each, one per channel")
        if self.side < 1:
            raise ValueError(f"data.side={self.side}: must be 1 or more")
        if self.augment not in get_args(Augmentation):
            raise ValueError(f"data.augment={self.augment}: must be {', '.join(get_args(Augmentation))}")

    def _check_labels(self, split: Split) -> None:
        images, labels = self.images[split], self.labels[split]
        if len(labels) != len(images):
            raise ValueError(f"{split} has {len(images)} images but {len(labels)} labels")
        if labels.ndim != 1:
            n, _, height, width = images.shape
            if labels.shape != (n, height, width) or labels.dtype not in (torch.uint8, torch.int64):
                raise ValueError(
                    f"{split} labels must be int64 ({n},), or uint8 or int64 {(n, height, width)} with a class for "
                    f"each pixel, got {labels.dtype} {tuple(labels.shape)}"
                )
            if self.augment != "none":
                raise ValueError(f"data.augment={self.augment}: must be none where each pixel has a class")
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.n_classes:
            raise ValueError(f"{split} labels must be in 0..{self.n_classes - 1}")

    @cached_property
    def fingerprint(self) -> str:
        """A digest of every pixel, label and split, and of what is done to them; not of the name."""
        digest = hashlib.sha256(repr((self.n_classes, self.mean, self.std, self.side, self.augment)).encode())
        for split in SPLITS:
            digest.update(f"{split} {tuple(self.images[split].shape)}".encode())
            digest.update(self.images[split].contiguous().numpy().data)
            digest.update(self.labels[split].contiguous().numpy().data)
        return digest.hexdigest()[:16]

    def augmented_by(self, augment: str, /) -> InMemoryData:
        """Return the same data under another augmentation. ValueError for one that there is not."""
        return dataclasses.replace(self, augment=cast(Augmentation, augment))

    def _batches(self, wanted: Pass, /) -> Batches:
        images, labels = self._at_side(wanted.split, wanted.side), self.labels[wanted.split]
        generator = wanted.generator
        mean = 255 * torch.tensor(self.mean).view(-1, 1, 1)
        deviation = 255 * torch.tensor(self.std).view(-1, 1, 1)
        for numbers in torch.split(wanted.examples(len(labels)), wanted.batch_size):
            batch = images.index_select(0, numbers)
            if wanted.augmented:
                assert generator is not None
                batch = augmented(batch, self.augment, generator)
            targets = numbers if wanted.numbered else labels.index_select(0, numbers).long()
            yield batch.float().sub_(mean).div_(deviation), targets

    def _at_side(self, split: Split, side: int) -> Tensor:
        if side == self.images[split].shape[2]:
            return self.images[split]
        if (split, side) not in self._resized:
            self._resized[split, side] = F.interpolate(
                self.images[split], size=(side, side), mode="bilinear", antialias=True
            )
        return self._resized[split, side]
