"""Whole pictures of a folder, decoded once, and packed in memory or in a file: they have many sizes.

What is decoded is what `open_image` gives, so that whatever is made of a picture afterwards is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from effbench.data.base import Split
from effbench.data.disk_cache import ArrayToStore, DiskEntry
from effbench.data.folder_images import MODES, Files
from effbench.data.image_files import open_image, picture_size, quiet_pillow
from effbench.data.memory_needed import take_memory

_N_TOGETHER = 64


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of many sizes as one row of bytes."""

    pixels: Tensor | Path = field(repr=False)
    """uint8, in all; or the file that holds them."""
    sizes: Tensor = field(repr=False)
    """int64 (n, 2): the height and width of each."""
    channels: int

    def __getitem__(self, number: int) -> Image.Image:
        """Return a picture."""
        height, width = self.sizes[number].tolist()
        n_bytes, end = height * width * self.channels, int(self._ends[number])
        if isinstance(self.pixels, Tensor):
            content = self.pixels[end - n_bytes : end].numpy()
        else:
            content = np.fromfile(self.pixels, dtype=np.uint8, count=n_bytes, offset=end - n_bytes)
        return Image.fromarray(content.reshape((height, width) if self.channels == 1 else (height, width, 3)))

    @cached_property
    def _ends(self) -> Tensor:
        return self.sizes.prod(1).cumsum(0) * self.channels


@dataclass(frozen=True, eq=False)
class PicturesOnDisk:
    """Pictures in files, which are written when they are first asked for."""

    entry: DiskEntry
    channels: int

    def of(self, split: Split, /) -> Pictures:
        """Return the pictures of a split."""
        sizes = np.fromfile(self.entry.paths[f"{split}-sizes"], dtype=np.int64).reshape(-1, 2)
        return Pictures(self.entry.paths[split], torch.from_numpy(sizes), self.channels)


@dataclass(frozen=True, eq=False)
class PicturesInMemory:
    """Pictures that were decoded."""

    by_split: Mapping[Split, Pictures]

    def of(self, split: Split, /) -> Pictures:
        """Return the pictures of a split."""
        return self.by_split[split]


def pictures_in_memory(files: Mapping[Split, Files], channels: int, /) -> PicturesInMemory:
    """Decode every file. ValueError names one that can't be decoded, and says where memory does not suffice."""
    n_bytes = {split: _n_bytes(of_split, channels) for split, of_split in files.items()}
    take_memory(_words(files), sum(n_bytes.values()))
    found: dict[Split, Pictures] = {}
    for split, of_split in files.items():
        decoding, start = _Decoding(of_split, channels), 0
        pixels = torch.empty(n_bytes[split], dtype=torch.uint8)
        for picture in decoding.pictures():
            pixels[start : start + picture.size] = torch.from_numpy(picture.reshape(-1))
            start += picture.size
        found[split] = Pictures(pixels, torch.from_numpy(decoding.sizes()[0]), channels)
    return PicturesInMemory(found)


def pictures_on_disk(files: Mapping[Split, Files], channels: int, /, *, root: str | None, key: str) -> PicturesOnDisk:
    """Decode every file once, when the first picture is asked for. key: says what the files are, and hold."""
    arrays: dict[str, ArrayToStore] = {}
    for split, of_split in files.items():
        decoding = _Decoding(of_split, channels)
        arrays[split] = ArrayToStore("uint8", (_n_bytes(of_split, channels),), decoding.pictures)
        arrays[f"{split}-sizes"] = ArrayToStore("int64", (len(of_split), 2), decoding.sizes)
    return PicturesOnDisk(DiskEntry.planned(root, key, arrays, what=_words(files)), channels)


class _Decoding:
    """Decodes files, and remembers how large their pictures were."""

    def __init__(self, files: Files, channels: int) -> None:
        self.files, self.channels = files, channels
        self._sizes: list[tuple[int, int]] = []

    def pictures(self) -> Iterator[np.ndarray]:
        """Yield the pictures (height, width) or (height, width, 3), decoded by threads, few at a time."""
        self._sizes = []
        with quiet_pillow(), ThreadPoolExecutor() as threads:
            for start in range(0, len(self.files), _N_TOGETHER):
                paths = [path for path, _ in self.files[start : start + _N_TOGETHER]]
                for picture in threads.map(self._picture, paths):
                    self._sizes.append(picture.shape[:2])
                    yield picture

    def sizes(self) -> list[np.ndarray]:
        """Return the heights and widths of the pictures that have been yielded, (n, 2)."""
        return [np.array(self._sizes, dtype=np.int64).reshape(-1, 2)]

    def _picture(self, path: Path) -> np.ndarray:
        return np.array(open_image(path, MODES[self.channels]))


def _n_bytes(files: Files, channels: int) -> int:
    """Return how many bytes pictures take, by the heads of their files."""
    with quiet_pillow(), ThreadPoolExecutor() as threads:
        sizes = threads.map(picture_size, [path for path, _ in files])
        return channels * sum(width * height for width, height in sizes)


def _words(files: Mapping[Split, Files]) -> str:
    return f"{sum(map(len, files.values())):,} images in their own sizes"
