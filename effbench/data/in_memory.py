"""Small data sets, held in memory as one tensor a split: no worker processes, no per-sample Python."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from effbench.data import SPLITS, Split
from effbench.data.augment import Augmentation, augmented


@dataclass(frozen=True, kw_only=True)
class InMemoryData:
    """Images as uint8 tensors (n, channels, side, side) and labels as int64 tensors (n,), one pair a split.

    `mean` and `std` are per channel, in units of the full pixel range. `augment` is applied to shuffled batches only:
    crop_flip shifts by up to an eighth of the side and mirrors left to right, affine turns, scales, shears and shifts a
    little (see `effbench.data.augment`).
    """

    name: str
    n_classes: int
    images: Mapping[Split, Tensor]
    labels: Mapping[Split, Tensor]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    side: int
    """The base side in pixels; the images may be of another one."""
    augment: Augmentation = "none"
    _resized: dict[tuple[Split, int], Tensor] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check that the parts belong together."""
        for split in SPLITS:
            images, labels = self.images[split], self.labels[split]
            if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[2] != images.shape[3]:
                raise ValueError(f"{split} images must be uint8 (n, channels, side, side), got {tuple(images.shape)}")
            if labels.shape != images.shape[:1]:
                raise ValueError(f"{split} has {len(images)} images but {len(labels)} labels")
            if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.n_classes:
                raise ValueError(f"{split} labels must be in 0..{self.n_classes - 1}")
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(f"mean={self.mean}, std={self.std}: must be {self.channels} each, one per channel")
        if self.side < 1:
            raise ValueError(f"data.side={self.side}: must be 1 or more")
        if self.augment not in get_args(Augmentation):
            raise ValueError(f"data.augment={self.augment}: must be {', '.join(get_args(Augmentation))}")

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for colour."""
        return self.images["train"].shape[1]

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

    def n_examples(self, split: Split) -> int:
        """Return the size of a split."""
        return len(self.labels[split])

    def batches(
        self,
        split: Split,
        *,
        side: int,
        batch_size: int,
        generator: torch.Generator | None = None,
        fraction: float = 1.0,
        numbered: bool = False,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield normalised batches; see `effbench.data.ImageData.batches`."""
        images, labels = self._at_side(split, side), self.labels[split]
        chosen = subset(len(labels), fraction)
        mean = 255 * torch.tensor(self.mean).view(-1, 1, 1)
        deviation = 255 * torch.tensor(self.std).view(-1, 1, 1)
        if generator is not None:
            chosen = chosen[torch.randperm(len(chosen), generator=generator)]
        for indices in torch.split(chosen, batch_size):
            batch = images.index_select(0, indices)
            if generator is not None:
                batch = augmented(batch, self.augment, generator)
            yield batch.float().sub_(mean).div_(deviation), indices if numbered else labels.index_select(0, indices)

    def _at_side(self, split: Split, side: int) -> Tensor:
        if side == self.images[split].shape[2]:
            return self.images[split]
        if (split, side) not in self._resized:
            self._resized[split, side] = F.interpolate(
                self.images[split], size=(side, side), mode="bilinear", antialias=True
            )
        return self._resized[split, side]


def subset(n_examples: int, fraction: float) -> Tensor:
    """Return which examples a fraction of a split keeps: always the same ones, smaller ones within larger ones."""
    order = torch.from_numpy(np.random.default_rng(0).permutation(n_examples))
    return order[: max(1, round(fraction * n_examples))].sort().values
