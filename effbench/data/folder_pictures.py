"""Whole pictures of a folder, decoded once, and packed in memory or in a file: they have many sizes.

What is decoded is what `open_image` gives, so that whatever is made of a picture afterwards is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from effbench.data.base import Split
from effbench.data.disk_cache import ArrayToStore, StoredArray, stored_arrays
from effbench.data.folder_images import MODES, Files
from effbench.data.image_files import open_image, picture_size, quiet_pillow
from effbench.data.memory_needed import take_memory

_N_TOGETHER = 64


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of many sizes as one row of bytes."""

    pixels: Tensor | StoredArray = field(repr=False)
    """uint8, in all."""
    sizes: Tensor = field(repr=False)
    """int64 (n, 2): the height and width of each."""
    channels: int

    def __getitem__(self, number: int) -> Image.Image:
        """Return a picture."""
        height, width = self.sizes[number].tolist()
        end = int(self._ends[number])
        content = self._bytes(end - height * width * self.channels, end)
        shape = (height, width) if self.channels == 1 else (height, width, self.channels)
        return Image.fromarray(content.reshape(shape))

    @cached_property
    def _ends(self) -> Tensor:
        return self.sizes.prod(1).cumsum(0) * self.channels

    def _bytes(self, start: int, end: int) -> np.ndarray:
        if isinstance(self.pixels, Tensor):
            return self.pixels[start:end].numpy()
        return np.fromfile(self.pixels.path, dtype=np.uint8, count=end - start, offset=start)


def pictures_in_memory(files: Mapping[Split, Files], channels: int, /) -> dict[Split, Pictures]:
    """Decode every file. ValueError names one that can't be decoded, and says where memory does not suffice."""
    n_bytes = {split: _n_bytes(of_split, channels) for split, of_split in files.items()}
    take_memory(sum(map(len, files.values())), f"{channels} channels in their own sizes", sum(n_bytes.values()))
    found: dict[Split, Pictures] = {}
    for split, of_split in files.items():
        pixels, sizes, start = torch.empty(n_bytes[split], dtype=torch.uint8), [], 0
        for picture in _decoded(of_split, channels):
            pixels[start : start + picture.size] = torch.from_numpy(picture.reshape(-1))
            start += picture.size
            sizes.append(picture.shape[:2])
        found[split] = Pictures(pixels, torch.tensor(sizes), channels)
    return found


def pictures_on_disk(
    files: Mapping[Split, Files], channels: int, /, *, root: str | None, key: str
) -> dict[Split, Pictures]:
    """Decode every file into one that is mapped, unless it is there. key: says what the files are, and hold."""
    arrays: dict[str, ArrayToStore] = {}
    for split, of_split in files.items():
        sizes: list[tuple[int, ...]] = []
        arrays[split] = ArrayToStore("uint8", (_n_bytes(of_split, channels),), _noted(of_split, channels, sizes))
        arrays[f"{split}-sizes"] = ArrayToStore("int64", (len(of_split), 2), _once_known(sizes))
    stored = stored_arrays(root, key, arrays)
    found: dict[Split, Pictures] = {}
    for split in files:
        table = np.fromfile(stored[f"{split}-sizes"].path, dtype=np.int64).reshape(-1, 2)
        found[split] = Pictures(stored[split], torch.from_numpy(table), channels)
    return found


def _noted(files: Files, channels: int, sizes: list[tuple[int, ...]]) -> Iterator[np.ndarray]:
    for picture in _decoded(files, channels):
        sizes.append(picture.shape[:2])
        yield picture


def _once_known(sizes: list[tuple[int, ...]]) -> Iterator[np.ndarray]:
    yield np.array(sizes, dtype=np.int64)


def _n_bytes(files: Files, channels: int) -> int:
    """Return how many bytes pictures take, by the heads of their files."""
    with quiet_pillow(), ThreadPoolExecutor() as threads:
        sizes = threads.map(picture_size, [path for path, _ in files])
        return channels * sum(width * height for width, height in sizes)


def _decoded(files: Files, channels: int) -> Iterator[np.ndarray]:
    """Yield the pictures (height, width) or (height, width, 3), by threads, few at a time."""
    with quiet_pillow(), ThreadPoolExecutor() as threads:
        for start in range(0, len(files), _N_TOGETHER):
            paths = [path for path, _ in files[start : start + _N_TOGETHER]]
            yield from threads.map(lambda path: np.array(open_image(path, MODES[channels])), paths)
