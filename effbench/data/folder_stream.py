"""The images of a folder, prepared from their files in every pass: by worker processes, or by this one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision.transforms import v2 as transforms

from effbench.data.base import SPLITS, Batches, ImageData, Pass, Split
from effbench.data.folder_fingerprint import fingerprint_of
from effbench.data.folder_images import MODES, centre_crop
from effbench.data.folder_pictures import (
    Pictures,
    PicturesInMemory,
    PicturesOnDisk,
    pictures_in_memory,
    pictures_on_disk,
)
from effbench.data.held_images import n_processors
from effbench.data.image_files import open_image, quiet_pillow
from effbench.data.memory_needed import Cache

HASHED_BYTES = 256 * 2**20
"""Up to this total size the fingerprint reads every file; beyond it names, sizes and times of change must do."""

FolderAugmentation = Literal["none", "crop_flip", "resized_crop"]
Example = tuple[Tensor, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageFolder(ImageData):
    """Images in folders named after their classes; one list of (path, label) a split.

    An image is resized so that its short side is side / crop_share, then its centre is cropped to side x side. In
    training, `augment` replaces the crop: crop_flip shifts the crop by up to an eighth of the side and mirrors,
    resized_crop takes a random 8 to 100 % of the area (Szegedy et al. 2014, arXiv:1409.4842) and mirrors.
    """

    root: Path
    classes: tuple[str, ...]
    files: Mapping[Split, Sequence[tuple[Path, int]]] = field(repr=False)
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_share: float
    augment: FolderAugmentation
    workers: int
    pictures: PicturesInMemory | PicturesOnDisk | None = field(default=None, repr=False)
    """Every image as it was decoded, where that is held: it is not opened again."""

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the files, the splits and what is done to the images.

        ValueError names a file that can't be used: see `folder_fingerprint`.
        """
        kept = (self.classes, self.side, self.channels, self.mean, self.std, self.crop_share, self.augment)
        return self.digest(repr(kept))

    def digest(self, about: str, /) -> str:
        """Return a digest of `about` and of the files, their splits and classes. ValueError names one of no use."""
        entries = [
            (f"{split} {Path(os.path.relpath(path, self.root)).as_posix()} {label}", path)
            for split in SPLITS
            for path, label in self.files[split]
        ]
        return fingerprint_of(about, entries, most_bytes=HASHED_BYTES)

    def _batches(self, wanted: Pass, /) -> Batches:
        chosen = wanted.examples(self.n_examples(wanted.split))
        # Each example brings its own seed, so that the number of workers never changes an augmented image.
        seeds = torch.zeros(len(chosen), dtype=torch.int64)
        if wanted.generator is not None:
            seeds = torch.randint(0, 2**62, (len(chosen),), generator=wanted.generator)
        files = [self.files[wanted.split][number] for number in chosen.tolist()]
        if wanted.numbered:
            files = [(path, number) for (path, _), number in zip(files, chosen.tolist(), strict=True)]
        pipeline = self._pipeline(wanted.side, augmented=wanted.augmented)
        opened = _Opened(self.channels, chosen, None if self.pictures is None else self.pictures.of(wanted.split))
        loader = DataLoader(
            _Files(files, seeds.tolist(), pipeline, opened),
            batch_size=wanted.batch_size,
            num_workers=min(self.workers, n_processors(), len(files) // wanted.batch_size),
            # A generator of its own: without one the loader would draw from the global generator.
            generator=torch.Generator().manual_seed(0),
            collate_fn=_batch,
        )
        for batch in loader:
            if isinstance(batch, ValueError):
                raise batch
            yield batch

    def opened(self, cache: Cache, root: str | None, /) -> ImageFolder:
        """Decode every image once, in its own size, and hold it so; with "none" it is opened whenever it is needed."""
        if cache == "memory":
            return replace(self, pictures=pictures_in_memory(self.files, self.channels))
        if cache == "disk":
            key = self.digest(repr(("whole", self.channels)))
            return replace(self, pictures=pictures_on_disk(self.files, self.channels, root=root, key=key))
        return self

    def _pipeline(self, side: int, *, augmented: bool) -> transforms.Transform:
        if augmented and self.augment == "resized_crop":
            crop = [transforms.RandomResizedCrop(side, antialias=True), transforms.RandomHorizontalFlip()]
        elif augmented and self.augment == "crop_flip":
            resize, reach = centre_crop(side, self.crop_share)[0], max(1, side // 8)
            crop = [resize, transforms.Pad(reach), transforms.CenterCrop(side + 2 * reach)]
            crop += [transforms.RandomCrop(side), transforms.RandomHorizontalFlip()]
        else:
            crop = centre_crop(side, self.crop_share)
        to_tensor = [transforms.ToImage(), transforms.ToDtype(torch.float32, scale=True)]
        return transforms.Compose([*crop, *to_tensor, transforms.Normalize(self.mean, self.std)])


@dataclass(frozen=True)
class _Opened:
    """Gives the images of one pass: from their files, or as they were decoded."""

    channels: int
    numbers: Tensor
    pictures: Pictures | None

    def image(self, path: Path, index: int) -> Image.Image:
        if self.pictures is not None:
            return self.pictures[int(self.numbers[index])]
        with quiet_pillow():
            return open_image(path, MODES[self.channels])


class _Files(Dataset[Example | ValueError]):
    """The images of one pass, decoded and transformed on demand."""

    def __init__(
        self,
        files: Sequence[tuple[Path, int]],
        seeds: Sequence[int],
        pipeline: transforms.Transform,
        opened: _Opened,
    ) -> None:
        self.files, self.seeds, self.pipeline, self.opened = files, seeds, pipeline, opened

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Example | ValueError:
        path, label = self.files[index]
        try:
            image = self.opened.image(path, index)
        except ValueError as error:
            return error
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seeds[index])
            return self.pipeline(image).as_subclass(torch.Tensor), label


def _batch(examples: Sequence[Example | ValueError]) -> tuple[Tensor, Tensor] | ValueError:
    """Return examples as a batch, or what is wrong with one of them.

    An error that a worker raises comes out as its traceback, in many lines, of which the first names no file.
    """
    for example in examples:
        if isinstance(example, ValueError):
            return example
    batch: tuple[Tensor, Tensor] = tuple(default_collate(list(examples)))
    return batch
