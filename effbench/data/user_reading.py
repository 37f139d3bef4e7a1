"""A user's Datasets read from end to end, every example twice.

An image that changes from one read to the next would make each run's data its own, and evaluation a matter of luck.
"""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from effbench.checks.errors import kind_and_line
from effbench.data.held_images import read_each
from effbench.data.paths import shown
from effbench.data.random_states import are_equal, global_states, lent_generators
from effbench.data.user_items import ItemError, image_and_label

DIGEST_BYTES = 16
_CHUNK_BYTES, _MOST_TOGETHER = 2**23, 64
_FEWEST_READS, _MOST_PASSES = 512, 16
_FEWEST_RANDOM_READS, _MOST_RANDOM_PASSES = 4096, 64
"""Where the global generators are drawn from or seeded: what is drawn rarely shows in few examples only then."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some examples, read."""

    images: Tensor
    labels: Tensor
    digests: Tensor
    """uint8 (n, 16): of each image."""
    draws: bool
    """Whether a global generator was another afterwards."""


@dataclass(frozen=True, eq=False)
class Source:
    """A user's Dataset, read in chunks: callable with numbers, and sent to processes that read ahead."""

    dataset: Any
    split: str
    like: tuple[tuple[int, ...], torch.dtype, tuple[int, ...]] | None = None
    """Shape and type of every image, and the shape of every label; None: not known yet."""
    seed: int = 0

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, numbers: Tensor, /) -> Chunk:
        """Return examples by their numbers. ValueError names the first that is none, or is unlike the others."""
        # What is drawn rarely must not come at the same places of every chunk.
        seeds = np.random.SeedSequence([self.seed, int(numbers[0]), len(numbers)])
        with lent_generators(int(seeds.generate_state(1)[0])):
            before = global_states()
            examples = [self._example(number) for number in numbers.tolist()]
            draws = not are_equal(before, global_states())
            images, labels = (torch.stack(list(parts)) for parts in zip(*examples, strict=True))
            if images.is_floating_point() and not bool(images.isfinite().all()):
                number = int(numbers[~images.flatten(1).isfinite().all(1)][0])
                raise ValueError(f"data: {self.split} example {number} has values that are not finite in float32")
        digests = b"".join(_digest(image) for image in images)
        table = torch.frombuffer(bytearray(digests), dtype=torch.uint8).view(-1, DIGEST_BYTES)
        return Chunk(images, labels, table, draws)

    def _example(self, number: int) -> tuple[Tensor, Tensor]:
        where = f"data: {self.split} example {number}"
        try:
            image, label = image_and_label(self.dataset[number])
        except ItemError as error:
            raise ValueError(f"{where} {shown(error)}") from None
        except (Exception, SystemExit) as error:  # whatever a user's Dataset raises
            raise ValueError(f"{where} can't be read: {shown(kind_and_line(error))}{_place(error)}") from None
        if self.like is not None and (image.shape, image.dtype, label.shape) != self.like:
            shape, dtype, label_shape = self.like
            theirs = f"{_words(shape, dtype)} with {_label_words(label_shape)}"
            ours = f"{_words(tuple(image.shape), image.dtype)} with {_label_words(tuple(label.shape))}"
            raise ValueError(f"{where} is {ours}, train example 0 is {theirs}; all must be alike")
        return image, label


@dataclass(frozen=True, eq=False)
class Scan:
    """What is known of a source once it was read."""

    source: Source
    labels: Tensor = field(repr=False)
    digests: Tensor = field(repr=False)
    """uint8 (n, 16), of each image."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, channels, height, width)."""
        assert self.source.like is not None
        return (len(self.labels), *self.source.like[0])

    @property
    def dtype(self) -> torch.dtype:
        """Of the images: uint8 or float32."""
        assert self.source.like is not None
        return self.source.like[1]

    def images(self, numbers: Tensor, /) -> Tensor:
        """Return images by their numbers. ValueError names one that is not what it was when it was first read."""
        return self.checked(self.source.read(numbers), numbers)

    def checked(self, chunk: Chunk, numbers: Tensor, /) -> Tensor:
        """Return the images of a chunk. ValueError names one that is not what it was when it was first read."""
        changed = (chunk.digests != self.digests[numbers]).any(1) | _differ(chunk.labels, self.labels[numbers])
        if bool(changed.any()):
            number = int(numbers[changed][0])
            raise ValueError(
                f"data: {self.source.split} example {number} is not the same on every read; an example must be, and "
                "what is random belongs in train.augment, not in the Dataset"
            )
        return chunk.images


Keep = Callable[[Tensor, Tensor], None]
"""Called as keep(numbers, images)."""


def first_example(dataset: Any, split: str, /) -> Source:
    """Return the Dataset as a source that knows what its examples are like: as its first one. ValueError if it's none.

    Beyond what is read of every example, nothing is: its labels tell whether it is an image's or its pixels'.
    """
    chunk = Source(dataset, split).read(torch.zeros(1, dtype=torch.int64))
    like = (tuple(chunk.images.shape[1:]), chunk.images.dtype, tuple(chunk.labels.shape[1:]))
    return Source(dataset, split, like)


def scan(source: Source, /, *, workers: int, keep: Keep | None = None) -> Scan:
    """Read every example, and again in other orders, each time with other global random states.

    workers: processes that read. keep: is given the images. ValueError names an example that can't be used, or that is
    not the same again. Processes that others started read once: those have read twice.
    """
    assert source.like is not None
    n_examples, draws = len(source), False
    # Of maps, which are as large as images, a byte a pixel is enough for most.
    labels = torch.empty((n_examples, *source.like[2]), dtype=torch.uint8 if source.like[2] else torch.int64)
    digests = torch.empty((n_examples, DIGEST_BYTES), dtype=torch.uint8)
    for numbers, chunk in _pass(source, torch.arange(n_examples), workers):
        if labels.dtype == torch.uint8 and int(chunk.labels.max()) > 255:
            labels = labels.long()
        labels[numbers], digests[numbers] = chunk.labels.to(labels.dtype), chunk.digests
        draws = draws or chunk.draws
        if keep is not None:
            keep(numbers, chunk.images)
    found = Scan(source, labels, digests)
    if multiprocessing.parent_process() is None:
        for number in range(1, _n_passes(n_examples, draws=draws)):
            order = torch.from_numpy(np.random.default_rng(number).permutation(n_examples))
            again = Source(source.dataset, source.split, source.like, seed=number)
            for numbers, chunk in _pass(again, order, workers):
                found.checked(chunk, numbers)
    return found


def _pass(source: Source, order: Tensor, workers: int) -> Iterator[tuple[Tensor, Chunk]]:
    chunks = torch.split(order, chunk_size(source))
    return zip(chunks, read_each(source.read, chunks, workers=workers), strict=True)


def chunk_size(source: Source, /) -> int:
    """Return how many examples are read together."""
    assert source.like is not None
    return max(1, min(_MOST_TOGETHER, _CHUNK_BYTES // (math.prod(source.like[0]) * source.like[1].itemsize)))


def _n_passes(n_examples: int, *, draws: bool) -> int:
    reads, most = (_FEWEST_RANDOM_READS, _MOST_RANDOM_PASSES) if draws else (_FEWEST_READS, _MOST_PASSES)
    return min(most, max(2, math.ceil(reads / n_examples)))


def _digest(image: Tensor) -> bytes:
    return hashlib.blake2b(image.numpy().data, digest_size=DIGEST_BYTES).digest()


def _differ(labels: Tensor, others: Tensor) -> Tensor:
    return (labels != others).flatten(1).any(1) if labels.ndim > 1 else labels != others


def _words(shape: tuple[int, ...], dtype: torch.dtype) -> str:
    return f"{' x '.join(map(str, shape))} of {str(dtype).removeprefix('torch.')}"


def _label_words(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} x {shape[1]} classes" if shape else "one class"


def _place(error: BaseException) -> str:
    """Return the line of the user's own file that raised an error, in parentheses; "" where it is none."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(_NOT_THE_USERS) and "site-packages" not in frame.filename
    ]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


_NOT_THE_USERS = (str(Path(__file__).parents[1]), str(Path(torch.__file__).parent), "<")
