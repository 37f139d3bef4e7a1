"""Images of one shape, wherever they are held: in memory, in a file, or nowhere: read anew each time.

How they are held decides no bit of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from effbench.data.paths import shown

Shape = tuple[int, int, int]
"""Channels, height, width."""
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
    """Images as an array in a file of its own, of which only what is asked for is read."""

    path: Path
    shape: tuple[int, ...]
    dtype: str
    """NumPy's name, "uint8" or "float32"."""

    def batches(self, numbers: Sequence[Tensor], /) -> Iterator[Tensor]:
        """Yield the images of each batch of numbers."""
        return (torch.from_numpy(self._images[batch.numpy()]) for batch in numbers)

    @cached_property
    def _images(self) -> np.ndarray:
        """The file, mapped: from then on it may be deleted."""
        try:
            return np.memmap(self.path, dtype=self.dtype, mode="r", shape=self.shape)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{shown(self.path)}: is gone ({shown(error)}); the same command writes it again"
            ) from None

    def __getstate__(self) -> dict[str, object]:
        """Go to another process without what is mapped: that would be all of it."""
        return {name: value for name, value in self.__dict__.items() if name != "_images"}


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

    workers: processes that read ahead; 0: this one reads.
    """
    loader = DataLoader(
        _Batches(read, numbers),
        batch_size=None,
        num_workers=min(workers, n_processors(), len(numbers)),
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
