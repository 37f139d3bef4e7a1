"""Which image files a folder of class folders holds, and to which split each belongs."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from effbench.data.base import SPLITS, Split
from effbench.data.splits import stratified_split

SUFFIXES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}

Files = list[tuple[Path, int]]
"""Images and the numbers of their classes."""
Shares = tuple[float, float, float]


def find_files(folder: Path, shares: Shares, /, *, split_seed: int) -> tuple[tuple[str, ...], dict[Split, Files]]:
    """Return the class names and the files of each split; none of these is empty. ValueError says what is missing.

    What has no folder comes from a seeded, stratified split: class folders alone are divided by `shares`; without
    `val`, a part of `train` becomes validation (as large as shares say, relative to train); without `test`, `val` is
    halved; `val` alone is divided as class folders are.
    """
    parts = _part_folders(folder)
    classes = tuple(sorted({name for part in parts.values() for name in _folders_in(part)}))
    listed = {split: _list_files(part, classes) for split, part in parts.items()}
    if not any(listed.values()):
        raise ValueError(
            f"data.root={folder}: holds no images; one folder a class is expected, with {_suffixes()} files"
        )
    for split, files in listed.items():
        if not files:
            raise ValueError(f"data.root={folder}: its {split} folder holds no images")
    if len(classes) < 2:
        raise ValueError(
            f"data.root={folder}: holds the one class {classes[0]}; two or more folders of images are needed"
        )
    if len(listed) == 1:
        pool = next(iter(listed.values()))
        return classes, _divide(pool, SPLITS, shares, split_seed)
    return classes, _complete(listed, shares, split_seed)


def open_image(path: Path, mode: str, /) -> Image.Image:
    """Return a decoded image in Pillow's `mode`. ValueError names a file that can't be decoded."""
    try:
        with Image.open(path) as image:
            return image.convert(mode)
    except Exception as error:  # on damaged bytes Pillow's decoders raise nearly anything
        raise _unreadable(path, error) from None


def read_image_file(path: Path, /) -> bytes:
    """Return what is in an image file, after a look at whether it can be decoded. ValueError names one that can't."""
    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.draft("L", (1, 1))  # a JPEG's small version: all of the file is read, little is computed
            image.load()
    except Exception as error:
        raise _unreadable(path, error) from None
    return content


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path}: not a readable image ({error}); mend or remove it")


def _part_folders(folder: Path) -> dict[Split, Path]:
    """Return the folders of class folders, by split; class folders alone count as one of them."""
    if not folder.is_dir():
        raise ValueError(f"data.root={folder}: there is no such folder")
    parts = {split: folder / split for split in SPLITS if (folder / split).is_dir()}
    if not parts or (set(parts) == {"test"} and len(_folders_in(folder)) > 1):  # a class may be named test
        return {"train": folder}
    if "train" not in parts and set(parts) != {"val"}:
        raise ValueError(f"data.root={folder}: has {' and '.join(parts)} but no train folder")
    return parts


def _complete(listed: Mapping[Split, Files], shares: Shares, seed: int) -> dict[Split, Files]:
    """Split off what is missing beside `train`."""
    if "val" not in listed:
        total = shares[0] + shares[1]
        if total <= 0:
            raise ValueError(f"data.shares={list(shares)}: nothing is left for train and validation")
        divided = _divide(listed["train"], ("train", "val", "test"), (shares[0] / total, shares[1] / total, 0.0), seed)
        return {**divided, "test": listed["test"]}
    if "test" not in listed:
        halves = _divide(listed["val"], ("val", "test", "train"), (0.5, 0.5, 0.0), seed)
        return {"train": listed["train"], "val": halves["val"], "test": halves["test"]}
    return dict(listed)


def _divide(pool: Files, names: Sequence[Split], shares: Shares, seed: int) -> dict[Split, Files]:
    """Divide files by `shares`, the first share to the first name."""
    labels = np.array([label for _, label in pool])
    parts = stratified_split(labels, shares, seed=seed)
    return {name: [pool[i] for i in parts[split]] for name, split in zip(names, SPLITS, strict=True)}


def _folders_in(folder: Path) -> list[str]:
    """Return the names of the folders in a folder; hidden ones (.ipynb_checkpoints) are no classes."""
    return [entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]


def _list_files(part: Path, classes: Sequence[str]) -> Files:
    return [
        (path, label)
        for label, name in enumerate(classes)
        for path in sorted((part / name).glob("**/*"))
        if path.suffix.lower() in SUFFIXES
    ]


def _suffixes() -> str:
    return ", ".join(sorted(SUFFIXES))
