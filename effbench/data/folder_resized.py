"""The images of a folder, resized once to the base side: from there they are augmented, and scaled for other sides."""

from __future__ import annotations

import torch
from torch import Tensor

from effbench.data.base import SPLITS, Split
from effbench.data.folder_images import FolderImages
from effbench.data.folder_stream import ImageFolder
from effbench.data.held_data import HeldData
from effbench.data.held_images import Images, OnDisk, Streamed
from effbench.data.in_memory import InMemoryData
from effbench.data.memory_needed import Cache, suited_cache, take_memory


def resized_bytes(folder: ImageFolder, /) -> int:
    """Return how many bytes all images take at the base side."""
    return sum(map(len, folder.files.values())) * folder.channels * folder.side**2


def resized_once(folder: ImageFolder, cache: Cache | None, root: str | None, /) -> InMemoryData | HeldData:
    """Resize every image once, to the base side (crop_flip then shifts black borders in), and hold it so.

    cache: None: as suits the size. root: of files, where they are held in some. ValueError names a file that can't be
    decoded, and an augmentation that needs the files.
    """
    if folder.augment == "resized_crop":
        raise ValueError("data.resize_once=true: augment=resized_crop crops anew; use augment=crop_flip or none")
    sources = {s: FolderImages(folder.files[s], folder.channels, folder.side, folder.crop_share) for s in SPLITS}
    options = {
        name: getattr(folder, name)
        for name in ("name", "n_classes", "classes", "labels", "mean", "std", "side", "augment")
    }
    how = suited_cache(resized_bytes(folder)) if cache is None else cache
    if how == "memory":
        n_images = sum(map(len, folder.files.values()))
        take_memory(f"{n_images:,} images of {folder.channels} x {folder.side} x {folder.side}", resized_bytes(folder))
        return InMemoryData(images={split: _joined(source) for split, source in sources.items()}, **options)
    images: dict[Split, Images] = {s: Streamed(sources[s].read, sources[s].shape, folder.workers) for s in SPLITS}
    if how == "disk":
        key = folder.digest(repr(("resized", folder.side, folder.channels, folder.crop_share)))
        images = {**OnDisk.planned(root, key, images, "uint8")}
    return HeldData(images=images, channels=folder.channels, **options)


def _joined(source: FolderImages) -> Tensor:
    """Return all images as one tensor, in which each batch is put as it is decoded."""
    pixels, start = torch.empty(source.shape, dtype=torch.uint8), 0
    for batch in source.in_order():
        pixels[start : start + len(batch)] = batch
        start += len(batch)
    return pixels
