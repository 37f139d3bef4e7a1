"""What every source of images offers to training and evaluation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

Batches = Iterator[tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One pass over a split, as it was asked for; see `ImageData.batches`."""

    split: Split
    side: int
    batch_size: int
    generator: torch.Generator | None
    augmented: bool
    """Whether images are augmented: only those of shuffled passes are."""
    fraction: float
    numbered: bool

    def examples(self, n_examples: int, /) -> Tensor:
        """Return the numbers of the examples in the order of this pass, int64 (n,); shuffling draws once."""
        chosen = subset(n_examples, self.fraction)
        if self.generator is None:
            return chosen
        return chosen[torch.randperm(len(chosen), generator=self.generator)]


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageData(ABC):
    """Labelled square images in three splits that never mix."""

    name: str
    """The name under which the data set is logged."""
    n_classes: int
    """How many classes there are."""
    channels: int
    """1 for grey images, 3 for colour."""
    side: int
    """The base side in pixels: resolution multipliers are relative to it."""
    labels: Mapping[Split, Tensor] = field(repr=False)
    """Each split's labels by the numbers of its examples: classes, int64 (n,), or a class for each pixel, uint8 or
    int64 (n, height, width)."""
    classes: tuple[str, ...] = ()
    """The names of the classes by their numbers; empty where they are not known."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A digest of everything that decides the batches: contents, splits, normalisation, augmentation."""

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
        augmented: bool = True,
        fraction: float = 1.0,
        numbered: bool = False,
    ) -> Batches:
        """Yield (images, labels): float32 (n, channels, side, side), normalised; int64 (n,) or (n, height, width).

        Maps of classes keep their own height and width, whatever `side` the images are asked at.

        With a generator the examples come shuffled and augmented, as training wants them (`augmented` false: shuffled,
        as evaluation sees them); without, each example comes once, in a fixed order. `fraction` keeps that share of the
        split (the same examples for every seed). `numbered` gives each example's number in the split (0 to n - 1,
        whatever the fraction) in the place of its label.
        """
        wanted = Pass(
            split=split,
            side=side,
            batch_size=batch_size,
            generator=generator,
            augmented=augmented and generator is not None,
            fraction=fraction,
            numbered=numbered,
        )
        return self._batches(wanted)

    @abstractmethod
    def _batches(self, wanted: Pass, /) -> Batches:
        """Yield the batches of a pass, as `batches` describes them."""


def subset(n_examples: int, fraction: float) -> Tensor:
    """Return which examples a fraction of a split keeps: always the same ones, smaller ones within larger ones."""
    order = torch.from_numpy(np.random.default_rng(0).permutation(n_examples))
    return order[: max(1, round(fraction * n_examples))].sort().values
