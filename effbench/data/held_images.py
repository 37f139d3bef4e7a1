"""Images of one shape, wherever they are held: in memory, in a file, or nowhere: read anew each time.

How they are held decides no bit of them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from effbench.data.base import Split
from effbench.data.disk_cache import ArrayToStore, DiskEntry

_BYTES_TOGETHER = 2**23
_BATCHES_EACH = 2
"""For fewer batches no process is begun."""
Read = TypeVar("Read")


class Images(Protocol):
    """The images of a split, by their numbers: uint8 or float32, all of one shape."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, channels, height, width)."""

    def batches(self, numbers: Sequence[Tensor], /) -> Iterator[Tensor]:
        """Yield the images of each batch of numbers, (n, channels, height, width). ValueError for one that is gone."""


@dataclass(frozen=True, eq=False)
class InMemory:
    """Images as one tensor."""

    images: Tensor = field(repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, channels, height, width)."""
        return tuple(self.images.shape)

    def batches(self, numbers: Sequence[Tensor], /) -> Iterator[Tensor]:
        """Yield the images of each batch of numbers."""
        return (self.images.index_select(0, batch) for batch in numbers)


@dataclass(frozen=True, eq=False)
class OnDisk:
    """Images as an array of an entry on disk, of which only what is asked for is read."""

    entry: DiskEntry
    name: str
    source: Images = field(repr=False)
    """The same images, which are written when they are first asked for."""

    @classmethod
    def planned(cls, root: str | None, key: str, sources: Mapping[Split, Images], dtype: str, /) -> dict[Split, OnDisk]:
        """Return images as they will be on disk; see `DiskEntry.planned`."""
        arrays: dict[str, ArrayToStore] = {
            split: ArrayToStore(dtype, images.shape, partial(_pieces, images)) for split, images in sources.items()
        }
        n_images = sum(images.shape[0] for images in sources.values())
        shape = " x ".join(map(str, next(iter(sources.values())).shape[1:]))
        entry = DiskEntry.planned(root, key, arrays, what=f"{n_images:,} images of {shape}")
        return {split: cls(entry, split, images) for split, images in sources.items()}

    @property
    def as_planned(self) -> Images:
        """The images, without anything being written for them."""
        return self if self.entry.is_there else self.source

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, channels, height, width)."""
        return self.entry.arrays[self.name].shape

    def batches(self, numbers: Sequence[Tensor], /) -> Iterator[Tensor]:
        """Yield the images of each batch of numbers."""
        return (torch.from_numpy(self._images[batch.numpy()]) for batch in numbers)

    @cached_property
    def _images(self) -> np.ndarray:
        """The file, mapped: from then on it may be deleted."""
        array = self.entry.arrays[self.name]
        return np.memmap(self.entry.paths[self.name], dtype=array.dtype, mode="r", shape=array.shape)

    def __getstate__(self) -> dict[str, object]:
        """Go to another process without what is mapped: that would be all of it."""
        return {"entry": self.entry, "name": self.name, "source": self.source}


@dataclass(frozen=True, eq=False)
class Streamed:
    """Images that are read when they are asked for, by processes of their own where there are `workers`."""

    read: Callable[[Tensor], Tensor]
    """Returns the images of some numbers. ValueError, in one line, where it can't."""
    shape: tuple[int, ...]
    workers: int

    def batches(self, numbers: Sequence[Tensor], /) -> Iterator[Tensor]:
        """Yield the images of each batch of numbers."""
        return read_each(self.read, numbers, workers=self.workers)


@dataclass(frozen=True, eq=False)
class Rows:
    """Some of the images, in another order."""

    images: Images
    rows: Tensor = field(repr=False)
    """int64 (n,): the numbers that they have there."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, channels, height, width)."""
        return (len(self.rows), *self.images.shape[1:])

    def batches(self, numbers: Sequence[Tensor], /) -> Iterator[Tensor]:
        """Yield the images of each batch of numbers."""
        return self.images.batches([self.rows.index_select(0, batch) for batch in numbers])


def read_each(read: Callable[[Tensor], Read], numbers: Sequence[Tensor], /, *, workers: int) -> Iterator[Read]:
    """Yield what `read` makes of each batch of numbers, in their order; the ValueError of one ends it.

    workers: the most processes that read ahead; 0: this one reads, as it does where there is little to read.
    """
    loader = DataLoader(
        _Batches(read, numbers),
        batch_size=None,
        num_workers=min(workers, n_processors(), len(numbers) // _BATCHES_EACH),
        # A generator of its own: without one the loader would draw from the global generator.
        generator=torch.Generator().manual_seed(0),
        collate_fn=_as_it_is,
    )
    for batch in loader:
        # An error that a worker raises comes out as its traceback, in many lines.
        if isinstance(batch, ValueError):
            raise batch
        yield batch


def n_processors() -> int:
    """Return how many processors this process may use: torch warns of more workers than that."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Batches(Dataset[Any], Generic[Read]):
    """A whole batch by its number."""

    def __init__(self, read: Callable[[Tensor], Read], numbers: Sequence[Tensor]) -> None:
        self.read, self.numbers = read, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, number: int) -> Read | ValueError:
        try:
            return self.read(self.numbers[number])
        except ValueError as error:
            return error


def _as_it_is(batch: Any) -> Any:
    return batch


def in_order(images: Images, /) -> Iterator[Tensor]:
    """Yield all images, some MB together."""
    n_bytes = 4 * math.prod(images.shape[1:])
    return images.batches(torch.split(torch.arange(images.shape[0]), max(1, min(64, _BYTES_TOGETHER // n_bytes))))


def _pieces(images: Images) -> Iterator[np.ndarray]:
    return (batch.numpy() for batch in in_order(images))
