"""Any folder of class folders: streamed from disk by worker processes, or decoded once where it fits in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision.transforms import v2 as transforms

from effbench.data.base import SPLITS, Batches, ImageData, Pass, Split
from effbench.data.folder_files import find_files
from effbench.data.folder_fingerprint import fingerprint_of
from effbench.data.image_files import open_image, quiet_pillow
from effbench.data.in_memory import InMemoryData
from effbench.data.paths import data_folder
from effbench.data.unlabelled import PartlyLabelled

HASHED_BYTES = 256 * 2**20
"""Up to this total size the fingerprint reads every file; beyond it names, sizes and times of change must do."""
IN_MEMORY_BYTES = 2**30
"""Up to this total size of the images at the base side they are kept in memory, unless asked otherwise."""
N_DECODED_TOGETHER = 64

FolderAugmentation = Literal["none", "crop_flip", "resized_crop"]
Example = tuple[Tensor, int]
_MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageFolder(ImageData):
    """Images in folders named after their classes; one list of (path, label) a split.

    An image is resized so that its short side is side / crop_share, then its centre is cropped to side x side. In
    training, `augment` replaces the crop: crop_flip shifts the crop by up to an eighth of the side and mirrors,
    resized_crop takes a random 8 to 100 % of the area (Szegedy et al. 2014, arXiv:1409.4842) and mirrors.
    """

    root: Path
    files: Mapping[Split, Sequence[tuple[Path, int]]] = field(repr=False)
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_share: float
    augment: FolderAugmentation
    n_workers: int

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the files, the splits and what is done to the images.

        ValueError names a file that can't be used: see `folder_fingerprint`.
        """
        kept = (self.classes, self.side, self.channels, self.mean, self.std, self.crop_share, self.augment)
        entries = [
            (f"{split} {Path(os.path.relpath(path, self.root)).as_posix()} {label}", path)
            for split in SPLITS
            for path, label in self.files[split]
        ]
        return fingerprint_of(repr(kept), entries, most_bytes=HASHED_BYTES)

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
        loader = DataLoader(
            _Files(files, seeds.tolist(), pipeline, self.channels),
            batch_size=wanted.batch_size,
            num_workers=min(self.n_workers, _n_processors(), len(files) // wanted.batch_size),
            # A generator of its own: without one the loader would draw from the global generator.
            generator=torch.Generator().manual_seed(0),
            collate_fn=_batch,
        )
        for batch in loader:
            if isinstance(batch, ValueError):
                raise batch
            yield batch

    def decoded(self) -> InMemoryData:
        """Decode every image to the base side and keep it (crop_flip then shifts black borders in).

        ValueError names a file that can't be decoded, and an augmentation that needs the files.
        """
        if self.augment == "resized_crop":
            raise ValueError("data.in_memory=true: augment=resized_crop needs the files; use augment=crop_flip or none")
        return InMemoryData(
            name=self.name,
            n_classes=self.n_classes,
            classes=self.classes,
            images={split: self._pixels(self.files[split]) for split in SPLITS},
            labels=self.labels,
            mean=self.mean,
            std=self.std,
            side=self.side,
            augment=self.augment,
        )

    def _pixels(self, files: Sequence[tuple[Path, int]]) -> Tensor:
        """Return the images of `files` at the base side, (n, channels, side, side) uint8."""
        crop = transforms.Compose(self._centre_crop(self.side))
        pixels = torch.empty(len(files), self.channels, self.side, self.side, dtype=torch.uint8)

        def decode(start: int) -> None:
            for position in range(start, min(start + N_DECODED_TOGETHER, len(files))):
                image = np.array(crop(open_image(files[position][0], _MODES[self.channels])))
                pixels[position] = torch.from_numpy(image).view(self.side, self.side, -1).permute(2, 0, 1)

        with quiet_pillow(), ThreadPoolExecutor() as threads:
            try:
                list(threads.map(decode, range(0, len(files), N_DECODED_TOGETHER)))
            except ValueError:
                threads.shutdown(wait=False, cancel_futures=True)  # the user need not wait for the other files
                raise
        return pixels

    def _centre_crop(self, side: int) -> list[transforms.Transform]:
        return [
            transforms.Resize(max(side, round(side / self.crop_share)), antialias=True),
            transforms.CenterCrop(side),
        ]

    def _pipeline(self, side: int, *, augmented: bool) -> transforms.Transform:
        if augmented and self.augment == "resized_crop":
            crop = [transforms.RandomResizedCrop(side, antialias=True), transforms.RandomHorizontalFlip()]
        elif augmented and self.augment == "crop_flip":
            resize, reach = self._centre_crop(side)[0], max(1, side // 8)
            crop = [resize, transforms.Pad(reach), transforms.CenterCrop(side + 2 * reach)]
            crop += [transforms.RandomCrop(side), transforms.RandomHorizontalFlip()]
        else:
            crop = self._centre_crop(side)
        to_tensor = [transforms.ToImage(), transforms.ToDtype(torch.float32, scale=True)]
        return transforms.Compose([*crop, *to_tensor, transforms.Normalize(self.mean, self.std)])


def _n_processors() -> int:
    """Return how many processors this process may use: torch warns of more workers than that."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Files(Dataset[Example | ValueError]):
    """The images of one pass, decoded and transformed on demand."""

    def __init__(
        self,
        files: Sequence[tuple[Path, int]],
        seeds: Sequence[int],
        pipeline: transforms.Transform,
        channels: int,
    ) -> None:
        self.files, self.seeds, self.pipeline = files, seeds, pipeline
        self.mode = _MODES[channels]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Example | ValueError:
        path, label = self.files[index]
        try:
            with quiet_pillow():
                image = open_image(path, self.mode)
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


def image_folder(
    *,
    root: str,
    side: int = 224,
    channels: int = 3,
    mean: Sequence[float] = (0.485, 0.456, 0.406),
    std: Sequence[float] = (0.229, 0.224, 0.225),
    crop_share: float = 0.875,
    augment: FolderAugmentation = "resized_crop",
    shares: Sequence[float] = (0.6, 0.2, 0.2),
    split_seed: int = 0,
    n_workers: int = 2,
    in_memory: bool | None = None,
    unlabelled: str | None = None,
) -> ImageData:
    """Return the images under `root`: folders train, val and test of class folders, or class folders alone.

    What is missing comes from a seeded, stratified split: class folders alone are divided by `shares`; without `val`, a
    part of `train` becomes validation (as large as shares say, relative to train); without `test`, `val` is halved.
    `mean` and `std` default to ImageNet's. in_memory: decode every image once, to the base side, and keep it; None does
    so where all images take at most 1 GiB and `augment` works on kept images (resized_crop needs the files).
    unlabelled: a folder of images without labels, in the root or elsewhere: they train at distill=1 alone.
    `folder_layout` says which names are those of splits, `pixel_values` what is made of images that are not plain.
    ValueError says what is wrong with a folder, a file or a value.
    """
    if side < 1:
        raise ValueError(f"data.side={side}: must be 1 or more")
    if channels not in (1, 3):
        raise ValueError(f"data.channels={channels}: 1 or 3")
    if augment not in ("none", "crop_flip", "resized_crop"):
        raise ValueError(f"data.augment={augment}: none, crop_flip or resized_crop")
    if not 0 < crop_share <= 1:
        raise ValueError(f"data.crop_share={crop_share}: must be in (0, 1]")
    if len(shares) != 3:
        raise ValueError(f"data.shares={list(shares)}: must be three, of train, validation and test")
    if channels == 1 and len(mean) == len(std) == 3:
        mean, std = (sum(mean) / 3,), (sum(std) / 3,)
    if not len(mean) == len(std) == channels:
        raise ValueError(f"data.mean={list(mean)}, data.std={list(std)}: must be {channels} each, one per channel")
    folder = data_folder(root)
    classes, files = find_files(folder, (shares[0], shares[1], shares[2]), split_seed=split_seed)
    with quiet_pillow():
        open_image(files["train"][0][0], _MODES[channels])
    streamed = ImageFolder(
        name=folder.name,
        n_classes=len(classes),
        labels={split: torch.tensor([label for _, label in files[split]]) for split in SPLITS},
        root=folder,
        classes=classes,
        files=files,
        side=side,
        channels=channels,
        mean=tuple(mean),
        std=tuple(std),
        crop_share=crop_share,
        augment=augment,
        n_workers=n_workers,
    )
    if unlabelled is not None:
        if in_memory:
            raise ValueError("data.in_memory=true: images without labels (data.unlabelled) are streamed; leave it out")
        return PartlyLabelled.of(streamed, unlabelled)
    if in_memory is None:
        n_bytes = sum(len(part) for part in files.values()) * channels * side**2
        in_memory = augment != "resized_crop" and n_bytes <= IN_MEMORY_BYTES
    return streamed.decoded() if in_memory else streamed
