"""The images of a folder at one side: each resized and cropped once, as uint8, when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2 as transforms

from effbench.data.image_files import open_image, quiet_pillow

MODES = {1: "L", 3: "RGB"}
"""Pillow's modes by the number of channels."""
_N_TOGETHER = 64
_MOST_WAITING = 32

Files = Sequence[tuple[Path, int]]
"""Images and the numbers of their classes."""


def centre_crop(side: int, share: float, /) -> list[transforms.Transform]:
    """Return what resizes an image so that its short side is side ÷ share, and crops its centre to side x side."""
    return [transforms.Resize(max(side, round(side / share)), antialias=True), transforms.CenterCrop(side)]


@dataclass(frozen=True, eq=False)
class FolderImages:
    """The images of some files, resized and cropped to side x side."""

    files: Files = field(repr=False)
    channels: int
    side: int
    crop_share: float

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, channels, side, side)."""
        return (len(self.files), self.channels, self.side, self.side)

    def read(self, numbers: Tensor, /) -> Tensor:
        """Return images by their numbers, uint8 (n, channels, side, side). ValueError names one that is not whole."""
        with quiet_pillow():
            return self._read(numbers)

    def in_order(self) -> Iterator[Tensor]:
        """Yield all images in batches, decoded by threads a few batches ahead."""
        batches = torch.split(torch.arange(len(self.files)), _N_TOGETHER)
        with quiet_pillow(), ThreadPoolExecutor() as threads:
            try:
                for start in range(0, len(batches), _MOST_WAITING):
                    yield from threads.map(self._read, batches[start : start + _MOST_WAITING])
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)  # the user need not wait for the other files
                raise

    def _read(self, numbers: Tensor) -> Tensor:
        crop = transforms.Compose(centre_crop(self.side, self.crop_share))
        pixels = torch.empty(len(numbers), *self.shape[1:], dtype=torch.uint8)
        for position, number in enumerate(numbers.tolist()):
            image = np.array(crop(open_image(self.files[number][0], MODES[self.channels])))
            pixels[position] = torch.from_numpy(image).view(self.side, self.side, -1).permute(2, 0, 1)
        return pixels
