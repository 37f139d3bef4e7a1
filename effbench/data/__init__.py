"""Image data sets: what every source offers to training and evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, Protocol

import torch
from torch import Tensor

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class ImageData(Protocol):
    """Labelled square images in three splits that never mix."""

    @property
    def name(self) -> str:
        """The name under which the data set is logged."""

    @property
    def n_classes(self) -> int:
        """How many classes there are."""

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for colour."""

    @property
    def side(self) -> int:
        """The base side in pixels: resolution multipliers are relative to it."""

    @property
    def fingerprint(self) -> str:
        """A digest of everything that decides the batches: contents, splits, normalisation, augmentation."""

    @property
    def labels(self) -> Mapping[Split, Tensor]:
        """The classes of each split's examples by their numbers, int64 (n,)."""

    def n_examples(self, split: Split) -> int:
        """Return the size of a split."""

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
        """Yield (images, labels): float32 (n, channels, side, side), normalised; int64 (n,).

        With a generator the examples come shuffled and augmented, as training wants them; without, each example comes
        once, in a fixed order. `fraction` keeps that share of the split (the same examples for every seed). `numbered`
        gives each example's number in the split (0 to n - 1, whatever the fraction) in the place of its label.
        """
