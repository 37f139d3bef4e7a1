"""Which image files a folder of class folders holds, and to which split each belongs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from effbench.data.base import SPLITS, Split
from effbench.data.folder_layout import class_folders, find_parts
from effbench.data.folder_tree import SUFFIXES, count_images, folders_in, list_images
from effbench.data.paths import data_folder, listed, remark, shown
from effbench.data.splits import stratified_split

Files = list[tuple[Path, int]]
"""Images and the numbers of their classes."""
Shares = tuple[float, float, float]


def find_files(root: Path, shares: Shares, /, *, split_seed: int) -> tuple[tuple[str, ...], dict[Split, Files]]:
    """Return the class names and the files of each split; none of these is empty. ValueError says what is missing.

    What has no folder comes from a seeded, stratified split: class folders alone are divided by `shares`; without
    `val`, a part of `train` becomes validation (as large as shares say, relative to train); without `test`, `val` is
    halved; `val` alone is divided as class folders are. A class without images is refused, and one of which a `train`
    folder has none; one that validation or test lacks is remarked upon, as is what was left out. Nothing is opened.
    """
    folder = data_folder(root)
    if not folder.is_dir():
        raise ValueError(f"data.root={shown(folder)}: there is no such folder")
    parts = find_parts(folder)
    places, others = class_folders(parts, folder), Counter[str]()
    listed_files: dict[Split, Files] = {}
    for split in parts:
        with_split = [(label, found[split]) for label, found in enumerate(places.values()) if split in found]
        listed_files[split] = [(path, label) for label, place in with_split for path in list_images(place, others)]
    _check_splits(folder, listed_files, others)
    classes = tuple(places)
    _check_classes(folder, classes, listed_files)
    _remark_on_left_out(folder, parts, others)
    return classes, _divided(folder, classes, listed_files, shares, split_seed)


def _check_splits(folder: Path, files: Mapping[Split, Files], others: Counter[str]) -> None:
    if not any(files.values()):
        what = "holds images itself" if count_images(folder) else "holds no images"
        there = f"; what is there: {_kinds(others)}" if others else ""
        raise ValueError(
            f"data.root={shown(folder)}: {what}; one folder a class is expected, with {_suffixes()} files{there}"
        )
    for split, of_split in files.items():
        if not of_split:
            raise ValueError(f"data.root={shown(folder)}: its {split} folder holds no images")


def _check_classes(folder: Path, classes: Sequence[str], files: Mapping[Split, Files]) -> None:
    """Refuse a class that can't be trained, and remark on one that can't be evaluated."""
    if len(classes) < 2:
        inner = folders_in(folder / classes[0]) if (folder / classes[0]).is_dir() else []
        hint = f"; if its folders are the classes, give data.root={shown(folder / classes[0])}" if inner else ""
        raise ValueError(
            f"data.root={shown(folder)}: holds the one class {shown(classes[0])}; "
            f"two or more folders of images are needed{hint}"
        )
    for split in (split for split in SPLITS if split in files):
        missing = _without_images(classes, files[split])
        where = f"its {split} folder" if len(files) > 1 else "it"
        if missing and (split == "train" or len(files) == 1):
            raise ValueError(
                f"data.root={shown(folder)}: {where} holds no images of {listed(missing)}; "
                "add some, or remove the class's folders"
            )
        if missing:
            remark(f"data.root={shown(folder)}: {where} holds no images of {listed(missing)}")


def _remark_on_left_out(folder: Path, parts: Mapping[Split, Path], others: Counter[str]) -> None:
    if others:
        remark(f"data.root={shown(folder)}: files that are no images are left out: {_kinds(others)}")
    for part in parts.values():
        n = count_images(part)
        if n:
            remark(f"{shown(part)}: {n} images beside the class folders are left out")


def _divided(
    folder: Path, classes: Sequence[str], files: Mapping[Split, Files], shares: Shares, seed: int
) -> dict[Split, Files]:
    """Return the files of all three splits: what has no folder is split off."""
    if len(files) > 1:
        return _complete(files, shares, seed)
    _check_above_0(shares, SPLITS)
    divided = _divide(next(iter(files.values())), SPLITS, shares, seed)
    missing = _without_images(classes, divided["train"])
    if missing:
        remark(
            f"data.root={shown(folder)}: {len(missing)} of {len(classes)} classes have too few images: none is for "
            f"training ({listed(missing)})"
        )
    return divided


def _without_images(classes: Sequence[str], files: Files) -> list[str]:
    present = {label for _, label in files}
    return [name for label, name in enumerate(classes) if label not in present]


def _complete(files: Mapping[Split, Files], shares: Shares, seed: int) -> dict[Split, Files]:
    """Split off what is missing beside `train`."""
    if "val" not in files:
        _check_above_0(shares, SPLITS[:2])
        total = shares[0] + shares[1]
        divided = _divide(files["train"], ("train", "val", "test"), (shares[0] / total, shares[1] / total, 0.0), seed)
        return {**divided, "test": files["test"]}
    if "test" not in files:
        halves = _divide(files["val"], ("val", "test", "train"), (0.5, 0.5, 0.0), seed)
        return {"train": files["train"], "val": halves["val"], "test": halves["test"]}
    return dict(files)


def _check_above_0(shares: Shares, splits: Sequence[Split]) -> None:
    """Refuse shares of which one leaves a split empty that has no folder of its own."""
    for split, share in zip(SPLITS, shares, strict=True):
        if split in splits and share <= 0:
            raise ValueError(
                f"data.shares={list(shares)}: {split}, which has no folder of its own, would be empty; each must be "
                "above 0, as in [0.6,0.2,0.2]"
            )


def _divide(pool: Files, names: Sequence[Split], shares: Shares, seed: int) -> dict[Split, Files]:
    """Divide files by `shares`, the first share to the first name."""
    labels = np.array([label for _, label in pool])
    try:
        parts = stratified_split(labels, shares, seed=seed)
    except ValueError as error:
        raise ValueError(
            f"data.shares={list(shares)}: {error}; add images, or give each split a larger share"
        ) from None
    return {name: [pool[i] for i in parts[split]] for name, split in zip(names, SPLITS, strict=True)}


def _kinds(others: Counter[str]) -> str:
    return listed([f"{n} {suffix or 'without a suffix'}" for suffix, n in others.most_common()])


def _suffixes() -> str:
    return ", ".join(sorted(SUFFIXES))
