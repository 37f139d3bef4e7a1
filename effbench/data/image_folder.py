"""Any folder of class folders, streamed from disk by worker processes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2 as transforms

from effbench.data import SPLITS, Split
from effbench.data.in_memory import subset
from effbench.data.splits import stratified_split

SUFFIXES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}
HASHED_BYTES = 256 * 2**20
"""Up to this total size the fingerprint reads every file; beyond it names, sizes and times of change must do."""

FolderAugmentation = Literal["none", "crop_flip", "resized_crop"]


@dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """Images in folders named after their classes; one list of (path, label) a split.

    An image is resized so that its short side is side / crop_share, then its centre is cropped to side x side. In
    training, `augment` replaces the crop: crop_flip shifts the crop by up to an eighth of the side and mirrors,
    resized_crop takes a random 8 to 100 % of the area (Szegedy et al. 2014, arXiv:1409.4842) and mirrors.
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    files: Mapping[Split, Sequence[tuple[Path, int]]]
    side: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_share: float
    augment: FolderAugmentation
    n_workers: int

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the files, the splits and what is done to the images."""
        kept = (self.classes, self.side, self.channels, self.mean, self.std, self.crop_share, self.augment)
        digest = hashlib.sha256(repr(kept).encode())
        total = sum(path.stat().st_size for split in SPLITS for path, _ in self.files[split])
        for split in SPLITS:
            for path, label in self.files[split]:
                digest.update(f"{split} {path.relative_to(self.root).as_posix()} {label}\n".encode())
                if total <= HASHED_BYTES:
                    digest.update(hashlib.sha256(path.read_bytes()).digest())
                else:
                    stat = path.stat()
                    digest.update(f"{stat.st_size} {stat.st_mtime_ns}".encode())
        return digest.hexdigest()[:16]

    def n_examples(self, split: Split) -> int:
        """Return the size of a split."""
        return len(self.files[split])

    def batches(
        self,
        split: Split,
        *,
        side: int,
        batch_size: int,
        generator: torch.Generator | None = None,
        fraction: float = 1.0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield normalised batches; see `effbench.data.ImageData.batches`."""
        chosen = subset(self.n_examples(split), fraction)
        # Each example brings its own seed, so that the number of workers never changes an augmented image.
        seeds = torch.zeros(len(chosen), dtype=torch.int64)
        if generator is not None:
            chosen = chosen[torch.randperm(len(chosen), generator=generator)]
            seeds = torch.randint(0, 2**62, (len(chosen),), generator=generator)
        files = [self.files[split][index] for index in chosen.tolist()]
        pipeline = self._pipeline(side, augmented=generator is not None)
        loader = DataLoader(
            _Files(files, seeds.tolist(), pipeline, self.channels),
            batch_size=batch_size,
            num_workers=min(self.n_workers, max(0, len(files) // batch_size)),
            # A generator of its own: without one the loader would draw from the global generator.
            generator=torch.Generator().manual_seed(0),
        )
        yield from loader

    def _pipeline(self, side: int, *, augmented: bool) -> transforms.Transform:
        if augmented and self.augment == "resized_crop":
            crop = [transforms.RandomResizedCrop(side, antialias=True), transforms.RandomHorizontalFlip()]
        else:
            crop = [transforms.Resize(max(side, round(side / self.crop_share)), antialias=True)]
            if augmented and self.augment == "crop_flip":
                padding = transforms.Pad(max(1, side // 8))
                crop += [padding, transforms.CenterCrop(side + 2 * max(1, side // 8)), transforms.RandomCrop(side)]
                crop += [transforms.RandomHorizontalFlip()]
            else:
                crop += [transforms.CenterCrop(side)]
        to_tensor = [transforms.ToImage(), transforms.ToDtype(torch.float32, scale=True)]
        return transforms.Compose([*crop, *to_tensor, transforms.Normalize(self.mean, self.std)])


class _Files(Dataset[tuple[Tensor, int]]):
    """The images of one pass, decoded and transformed on demand."""

    def __init__(
        self,
        files: Sequence[tuple[Path, int]],
        seeds: Sequence[int],
        pipeline: transforms.Transform,
        channels: int,
    ) -> None:
        self.files, self.seeds, self.pipeline = files, seeds, pipeline
        self.mode = "L" if channels == 1 else "RGB"

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self.files[index]
        image = _open(path, self.mode)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seeds[index])
            return self.pipeline(image).as_subclass(torch.Tensor), label


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
) -> ImageFolder:
    """Return the images under `root`: folders train, val and test of class folders, or class folders alone.

    What is missing comes from a seeded, stratified split: class folders alone are divided by `shares`; without `val`, a
    part of `train` becomes validation (as large as shares say, relative to train); without `test`, `val` is halved.
    `mean` and `std` default to ImageNet's. ValueError says what is wrong with a folder or a value.
    """
    if channels not in (1, 3):
        raise ValueError(f"data.channels={channels}: 1 or 3")
    if augment not in ("none", "crop_flip", "resized_crop"):
        raise ValueError(f"data.augment={augment}: none, crop_flip or resized_crop")
    if not 0 < crop_share <= 1:
        raise ValueError(f"data.crop_share={crop_share}: must be in (0, 1]")
    if channels == 1 and len(mean) == 3:
        mean, std = (sum(mean) / 3,), (sum(std) / 3,)
    folder = Path(root).expanduser().resolve()
    classes, files = _split_files(folder, (shares[0], shares[1], shares[2]), split_seed)
    _open(files["train"][0][0], "RGB")
    return ImageFolder(
        name=folder.name,
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


Files = list[tuple[Path, int]]


def _split_files(
    folder: Path, shares: tuple[float, float, float], split_seed: int
) -> tuple[tuple[str, ...], dict[Split, Files]]:
    """Return the class names and the files of each split."""
    if not folder.is_dir():
        raise ValueError(f"data.root={folder}: there is no such folder")
    present: list[Split] = [split for split in SPLITS if (folder / split).is_dir()]
    if not present or present == ["test"]:
        present, parts = ["train"], {"train": folder}
    else:
        parts = {split: folder / split for split in present}
    classes = tuple(sorted({entry.name for part in parts.values() for entry in part.iterdir() if entry.is_dir()}))
    found = {split: _list_files(part, classes) for split, part in parts.items()}
    if not any(found.values()):
        raise ValueError(f"data.root={folder}: holds no images; one folder a class is expected, with {_suffixes()} files")
    if present == ["train"] or present == ["val"]:
        pool = found[present[0]]
        return classes, _divide(pool, SPLITS, shares, split_seed)
    if "train" not in found:
        raise ValueError(f"data.root={folder}: has {' and '.join(present)} but no train folder")
    if "val" not in found:
        total = shares[0] + shares[1]
        found |= _divide(found["train"], ("train", "val", "test"), (shares[0] / total, shares[1] / total, 0.0), split_seed) | {
            "test": found["test"]
        }
    if "test" not in found:
        halves = _divide(found["val"], ("val", "test", "train"), (0.5, 0.5, 0.0), split_seed)
        found |= {"val": halves["val"], "test": halves["test"]}
    return classes, found


def _divide(pool: Files, names: Sequence[Split], shares: tuple[float, float, float], seed: int) -> dict[Split, Files]:
    """Divide files by `shares`, the first share to the first name."""
    labels = np.array([label for _, label in pool])
    parts = stratified_split(labels, shares, seed=seed)
    return {name: [pool[i] for i in parts[split]] for name, split in zip(names, SPLITS, strict=True)}


def _list_files(part: Path, classes: Sequence[str]) -> Files:
    return [
        (path, label)
        for label, name in enumerate(classes)
        for path in sorted((part / name).glob("**/*"))
        if path.suffix.lower() in SUFFIXES
    ]


def _open(path: Path, mode: str) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert(mode)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"{path}: not a readable image ({error}); mend or remove it") from None


def _suffixes() -> str:
    return ", ".join(sorted(SUFFIXES))
