"""A fixed pool of augmented copies of the training split: so few images that each can have a label of its own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from effbench.data.base import Batches, ImageData, Pass, Split
from effbench.data.held_data import HeldData
from effbench.data.in_memory import InMemoryData

BATCH_SIZE = 250


@dataclass(frozen=True, kw_only=True, eq=False)
class AugmentedPool(ImageData):
    """A data set whose training examples come as they are or in one of `n_copies` augmented copies, always the same.

    Example i of n in copy c (0: as it is) has the number c · n + i. In a shuffled pass each example comes once, in a
    copy that is drawn; in a pass in the fixed order every copy comes; `labels` has the
    training split's for every copy. Images are kept in float16 at the base side: 2 bytes a value.
    """

    data: ImageData
    """What it augments: its name, classes, channels and side are the pool's."""
    n_copies: int
    images: Tensor = field(repr=False)
    """float16 ((n_copies + 1) · n, channels, side, side), normalised."""

    @classmethod
    def of(cls, data: ImageData, /, *, n_copies: int) -> AugmentedPool:
        """Draw the pool: the same for every seed and student. ValueError where the data set augments nothing.

        The last one is kept: in a recipe one training after the other takes it.
        """
        key = f"{data.fingerprint}/{n_copies}"
        if key not in _last:
            pool = cls._drawn(data, n_copies)
            _last.clear()
            _last[key] = pool
        return _last[key]

    @classmethod
    def _drawn(cls, data: ImageData, n_copies: int) -> AugmentedPool:
        n = data.n_examples("train")
        images = torch.empty((n_copies + 1) * n, data.channels, data.side, data.side, dtype=torch.float16)
        for copy in range(n_copies + 1):
            generator = torch.Generator().manual_seed(copy) if copy else None
            batches = data.batches("train", side=data.side, batch_size=BATCH_SIZE, generator=generator, numbered=True)
            for batch, numbers in batches:
                images[copy * n + numbers] = batch.half()
        if n_copies and torch.equal(images[:n], images[n : 2 * n]):
            raise ValueError(
                f"pool={n_copies}: must be 0 with {data.name}, which augments nothing; "
                "see data.augment and stage.distill.augment"
            )
        labels = torch.cat([data.labels["train"]] * (n_copies + 1))
        return cls(
            name=data.name,
            n_classes=data.n_classes,
            channels=data.channels,
            side=data.side,
            labels={**data.labels, "train": labels},
            data=data,
            n_copies=n_copies,
            images=images,
        )

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the data set behind it and of the number of copies."""
        return hashlib.sha256(f"{self.data.fingerprint}/pool/{self.n_copies}".encode()).hexdigest()[:16]

    def n_examples(self, split: Split) -> int:
        """Return the size of a split: of `train`, how many examples a shuffled pass has."""
        return self.data.n_examples(split)

    def _batches(self, wanted: Pass, /) -> Batches:
        """Yield batches of the pool, and of the other splits as they are."""
        return self._of_pool(wanted) if wanted.split == "train" else self.data._batches(wanted)

    def _of_pool(self, wanted: Pass) -> Batches:
        n = self.n_examples("train")
        chosen = wanted.examples(n)
        if wanted.generator is None:
            chosen = torch.cat([chosen + copy * n for copy in range(self.n_copies + 1)])
        elif wanted.augmented:
            chosen = chosen + n * torch.randint(0, self.n_copies + 1, chosen.shape, generator=wanted.generator)
        for numbers in torch.split(chosen, wanted.batch_size):
            images = self.images.index_select(0, numbers).float()
            if wanted.side != self.side:
                images = F.interpolate(images, size=[wanted.side] * 2, mode="bilinear", antialias=True)
            yield images, numbers if wanted.numbered else self.labels["train"].index_select(0, numbers)


_last: dict[str, AugmentedPool] = {}


def augmented_by(data: ImageData, augment: str, /) -> ImageData:
    """Return the same data under another augmentation. ValueError where the data set can't be augmented otherwise."""
    if not isinstance(data, InMemoryData | HeldData):
        raise ValueError(f"augment={augment}: must be null with {data.name}, which has data.augment alone")
    return data.augmented_by(augment)
