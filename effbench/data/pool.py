"""A fixed pool of augmented copies of the training split: so few images that each can have a label of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from effbench.data import ImageData, Split
from effbench.data.in_memory import InMemoryData, subset

BATCH_SIZE = 250


@dataclass(frozen=True, kw_only=True)
class AugmentedPool:
    """A data set whose training examples come as they are or in one of `n_copies` augmented copies, always the same.

    Example i of n in copy c (0: as it is) has the number c · n + i. In a shuffled pass each example comes once, in a
    copy that is drawn; in a pass in the fixed order every copy comes. Images are kept in float16 at the base side:
    2 bytes a value.
    """

    data: ImageData
    n_copies: int
    images: Tensor
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
        return cls(data=data, n_copies=n_copies, images=images)

    @property
    def name(self) -> str:
        """The name of the data set behind it."""
        return self.data.name

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return self.data.n_classes

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for colour."""
        return self.data.channels

    @property
    def side(self) -> int:
        """The base side in pixels."""
        return self.data.side

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the data set behind it and of the number of copies."""
        return hashlib.sha256(f"{self.data.fingerprint}/pool/{self.n_copies}".encode()).hexdigest()[:16]

    @cached_property
    def labels(self) -> Mapping[Split, Tensor]:
        """The classes by number: of the training split, for every copy."""
        return {**self.data.labels, "train": self.data.labels["train"].repeat(self.n_copies + 1)}

    def n_examples(self, split: Split) -> int:
        """Return how many examples a shuffled pass has."""
        return self.data.n_examples(split)

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
        """Yield batches of the pool, and of the other splits as they are; see `effbench.data.ImageData.batches`."""
        if split != "train":
            yield from self.data.batches(
                split, side=side, batch_size=batch_size, generator=generator, fraction=fraction, numbered=numbered
            )
            return
        n, chosen = self.n_examples("train"), subset(self.n_examples("train"), fraction)
        if generator is None:
            chosen = torch.cat([chosen + copy * n for copy in range(self.n_copies + 1)])
        else:
            chosen = chosen[torch.randperm(len(chosen), generator=generator)]
            chosen = chosen + n * torch.randint(0, self.n_copies + 1, chosen.shape, generator=generator)
        for numbers in torch.split(chosen, batch_size):
            images = self.images.index_select(0, numbers).float()
            if side != self.side:
                images = F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
            yield images, numbers if numbered else self.labels["train"].index_select(0, numbers)


_last: dict[str, AugmentedPool] = {}


def augmented_by(data: ImageData, augment: str, /) -> ImageData:
    """Return the same data under another augmentation. ValueError where the data set can't be augmented otherwise."""
    if not isinstance(data, InMemoryData):
        raise ValueError(f"augment={augment}: must be null with {data.name}, which has data.augment alone")
    return data.augmented_by(augment)
