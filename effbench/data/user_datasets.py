"""Data that a user brings: torch Datasets, DataLoaders, a DataModule, or arrays, as one data set in three splits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from effbench.checks.fields import shown as as_users_write
from effbench.data.augment import Augmentation
from effbench.data.base import SPLITS, Split
from effbench.data.held_data import HeldData
from effbench.data.held_images import Images, Rows
from effbench.data.memory_needed import Cache, check_holding
from effbench.data.paths import listed, remark
from effbench.data.splits import are_shares, stratified_split
from effbench.data.user_parts import parts_of
from effbench.data.user_reading import Scan
from effbench.data.user_scans import scans_of

SHARES = (0.6, 0.2, 0.2)
_MANY_CLASSES = 1000

Rest = tuple[Tensor, Tensor, Images]
"""Labels, digests of the images, and the images of a split."""


def user_data(
    given: Any,
    /,
    *,
    side: int | None = None,
    split_seed: int = 0,
    shares: Sequence[float] = SHARES,
    name: str = "user",
    augment: Augmentation = "none",
    cache: Cache | None = None,
    workers: int = 0,
    cache_root: str | None = None,
) -> HeldData:
    """Return a user's data as effbench holds them.

    given: three things with a length and items by number (train, val, test), in a tuple or a mapping by name; or two
    (train, test), of whose train a seeded, stratified share becomes val: `shares` of train to val. Each is a torch
    Dataset, a DataLoader (whose Dataset is taken, in its own order), a list of examples, or (X, y) of arrays. Or a
    DataModule as Lightning has it: an object, or a class of such, with `train_dataloader`, `test_dataloader` and, if it
    has one, `val_dataloader`; it is prepared and set up first, with the global generators seeded by `split_seed`.

    Examples are pairs (image, label), or mappings with both (image, img, pixel_values …; label, target, mask …). Images
    are square and all of one size: PIL, tensors (channels, height, width), arrays (height, width, channels) or without
    channels. uint8 and PIL are seen as torchvision's `ToTensor` gives them, from 0 to 1; floats exactly as they are, in
    float32: nothing normalises them again. Labels are classes from 0 on, or a class for each pixel.

    Every example is read twice: one that is not the same again is refused, as augmentation is for training alone. The
    global random states are left as they were.

    side: pixels, None: the images' own; others are resized (bilinear, antialias). augment: as `InMemoryData` has it.
    cache: memory, disk (files below `cache_root`, by default `.effbench/data`) or none (read anew each time); None:
    memory where that takes at most 1 GiB. workers: processes that read the Datasets. Neither decides any result.
    ValueError, in one line, for all that can't be used.

    >>> images, labels = np.zeros((6, 8, 8), dtype=np.uint8), np.array([0, 1, 0, 1, 0, 1])
    >>> data = user_data({"train": (images, labels), "val": (images + 1, labels), "test": (images + 2, labels)})
    >>> data.side, data.channels, data.n_classes, data.n_examples("test")
    (8, 1, 2, 6)
    """
    check_holding(cache, workers)
    _check_numbers(side, split_seed)
    if augment not in get_args(Augmentation):
        raise ValueError(f"data.augment={augment}: must be {', '.join(get_args(Augmentation))}")
    found = scans_of(parts_of(given, seed=split_seed), cache=cache, root=cache_root, workers=workers)
    splits: dict[Split, Rest] = {split: (scan.labels, scan.digests, images) for split, (scan, images) in found.items()}
    if "val" not in splits:
        splits = _with_validation(splits, shares, split_seed)
    n_classes = _n_classes({split: labels for split, (labels, _, _) in splits.items()})
    _remark_on_copies({split: digests for split, (_, digests, _) in splits.items()})
    first: Scan = found["train"][0]
    _, channels, height, _ = first.shape
    is_uint8 = first.dtype == torch.uint8
    labels = {split: _as_kept(splits[split][0], n_classes) for split in SPLITS}
    return HeldData(
        name=name,
        n_classes=n_classes,
        channels=channels,
        side=height if side is None else side,
        labels=labels,
        images={split: splits[split][2] for split in SPLITS},
        mean=(0.0,) * channels if is_uint8 else None,
        std=(1.0,) * channels if is_uint8 else None,
        augment=augment,
        content=_content(first, labels, {split: splits[split][1] for split in SPLITS}),
    )


def _check_numbers(side: object, split_seed: object) -> None:
    if side is not None and (isinstance(side, bool) or not isinstance(side, int) or side < 1):
        raise ValueError(f"data.side={side}: must be a whole number, 1 or more, or null for the images' own")
    if isinstance(split_seed, bool) or not isinstance(split_seed, int) or split_seed < 0:
        raise ValueError(f"data.split_seed={split_seed}: must be a whole number, 0 or more")


def _with_validation(splits: Mapping[Split, Rest], shares: Sequence[float], seed: int) -> dict[Split, Rest]:
    """Split validation off train: as large as shares say, every class alike; which examples, `seed` decides."""
    if not are_shares(shares) or shares[0] <= 0 or shares[1] <= 0:
        raise ValueError(
            f"data.shares={as_users_write(shares)}: must be three numbers, of train, validation and test, 0 or "
            "more, the first two above 0, as in [0.6,0.2,0.2]"
        )
    labels, digests, images = splits["train"]
    share = shares[1] / (shares[0] + shares[1])
    classes = labels.numpy() if labels.ndim == 1 else np.zeros(len(labels), dtype=np.int64)
    try:
        rows = stratified_split(classes, (1 - share, share, 0.0), seed=seed)
    except ValueError as error:
        raise ValueError(f"data: {error}; give val as well, or other data.shares") from None
    remark(
        f"data: without a validation split, {len(rows['val']):,} of train's {len(labels):,} examples are it "
        f"(data.split_seed={seed})"
    )
    parts: dict[Split, Rest] = {"test": splits["test"]}
    for split in SPLITS[:2]:
        chosen = torch.from_numpy(rows[split])
        parts[split] = (labels[chosen], digests[chosen], Rows(images, chosen))
    return parts


def _n_classes(labels: Mapping[Split, Tensor]) -> int:
    """Return the highest class plus one. ValueError where that can't be the number of classes."""
    present = {
        split: set(of_split.unique().tolist())  # type: ignore[no-untyped-call]
        for split, of_split in labels.items()
    }
    every = set[int]().union(*present.values())
    n_classes = max(every) + 1
    if len(every) < 2:
        raise ValueError(f"data: every label is {n_classes - 1}; there must be two classes or more")
    if n_classes > max(_MANY_CLASSES, 10 * len(every)):
        raise ValueError(f"data: labels go up to {n_classes - 1}, of {len(every)} classes; number them from 0 on")
    missing = [str(label) for label in range(n_classes) if label not in present["train"]]
    if missing:
        remark(f"data: of {n_classes} classes, train has no example of {listed(missing)}")
    return n_classes


def _remark_on_copies(digests: Mapping[Split, Tensor]) -> None:
    """Say how many images of a split are in one that comes before it, too."""
    images = {split: [row.tobytes() for row in digests[split].numpy()] for split in SPLITS}
    for place, split in enumerate(SPLITS):
        for other in SPLITS[:place]:
            there = set(images[other])
            n_copies = sum(image in there for image in images[split])
            if n_copies:
                remark(f"data: {n_copies:,} of {split}'s {len(images[split]):,} images are in {other}, too")


def _as_kept(labels: Tensor, n_classes: int) -> Tensor:
    """Return labels as `ImageData` has them: the same for equal classes."""
    return labels.to(torch.uint8 if labels.ndim > 1 and n_classes <= 256 else torch.int64)


def _content(first: Scan, labels: Mapping[Split, Tensor], digests: Mapping[Split, Tensor]) -> str:
    """Return a digest of every image, label and split."""
    digest = hashlib.sha256(repr(("user data", 1, first.shape[1:], str(first.dtype))).encode())
    for split in SPLITS:
        digest.update(f"{split} {tuple(labels[split].shape)}".encode())
        digest.update(digests[split].contiguous().numpy().data)
        digest.update(labels[split].contiguous().numpy().data)
    return digest.hexdigest()
