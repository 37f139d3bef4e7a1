"""Any folder of class folders: resized once where that is small, else prepared from the files in every pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import torch

from effbench.data.base import SPLITS
from effbench.data.folder_files import find_files
from effbench.data.folder_images import MODES
from effbench.data.folder_resized import resized_bytes, resized_once
from effbench.data.folder_stream import FolderAugmentation, ImageFolder
from effbench.data.held_data import HeldData
from effbench.data.image_files import open_image, quiet_pillow
from effbench.data.in_memory import InMemoryData
from effbench.data.memory_needed import Cache, check_holding
from effbench.data.paths import data_folder
from effbench.data.splits import checked_shares
from effbench.data.unlabelled import PartlyLabelled

RESIZED_ONCE_BYTES = 2**30
"""Up to this total size of the images at the base side they are resized once, unless asked otherwise."""


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
    resize_once: bool | None = None,
    cache: Cache | None = None,
    cache_root: str | None = None,
    workers: int = 2,
    unlabelled: str | None = None,
) -> ImageFolder | InMemoryData | HeldData | PartlyLabelled:
    """Return the images under `root`: folders train, val and test of class folders, or class folders alone.

    What is missing comes from a seeded, stratified split: class folders alone are divided by `shares`; without `val`, a
    part of `train` becomes validation (as large as shares say, relative to train); without `test`, `val` is halved.
    `mean` and `std` default to ImageNet's.

    resize_once: every image is resized and cropped to the base side once; from there it is augmented, and scaled for
    other sides. None does so where all images take at most 1 GiB then, and `augment` allows it (resized_crop does not).
    cache: "memory", "disk" (below `cache_root`, by default `.effbench/data`) or "none" hold them so, decoded; None:
    memory where they are resized once and are few, else none. workers: processes that decode while streaming. Neither
    of these two decides any result. unlabelled: a folder of images without labels, in the root or elsewhere, which are
    streamed: they train at distill=1 alone.

    `folder_layout` says which names are those of splits, `pixel_values` what is made of images that are not plain.
    ValueError says what is wrong with a folder, a file or a value.
    """
    if side < 1:
        raise ValueError(f"data.side={side}: must be 1 or more")
    if channels not in (1, 3):
        raise ValueError(f"data.channels={channels}: 1 or 3")
    if augment not in get_args(FolderAugmentation):
        raise ValueError(f"data.augment={augment}: none, crop_flip or resized_crop")
    if not 0 < crop_share <= 1:
        raise ValueError(f"data.crop_share={crop_share}: must be in (0, 1]")
    if channels == 1 and len(mean) == len(std) == 3:
        mean, std = (sum(mean) / 3,), (sum(std) / 3,)
    if not len(mean) == len(std) == channels:
        raise ValueError(f"data.mean={list(mean)}, data.std={list(std)}: must be {channels} each, one per channel")
    if min(std) <= 0:
        raise ValueError(f"data.std={list(std)}: must be above 0 each: images are divided by it")
    if resize_once is not None and not isinstance(resize_once, bool):
        raise ValueError(f"data.resize_once={resize_once}: must be true, false or null")
    check_holding(cache, workers)
    folder = data_folder(root)
    classes, files = find_files(folder, checked_shares(shares), split_seed=split_seed)
    with quiet_pillow():
        open_image(files["train"][0][0], MODES[channels])
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
        workers=workers,
    )
    if unlabelled is not None:
        if resize_once or cache not in (None, "none"):
            key = "resize_once=true" if resize_once else f"cache={cache}"
            raise ValueError(f"data.{key}: images without labels (data.unlabelled) are streamed; leave it out")
        return PartlyLabelled.of(streamed, unlabelled)
    if resize_once is None:
        resize_once = augment != "resized_crop" and resized_bytes(streamed) <= RESIZED_ONCE_BYTES
    if resize_once:
        return resized_once(streamed, cache, cache_root)
    return streamed.opened("none" if cache is None else cache, cache_root)
