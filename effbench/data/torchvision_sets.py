"""MNIST, Fashion-MNIST and CIFAR-10 by torchvision: read from a folder, downloaded there on first use."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision.datasets
from torch import Tensor

from effbench.checks.errors import first_line, kind_and_line
from effbench.data.augment import Augmentation
from effbench.data.base import Split
from effbench.data.digits import MNIST_MEAN, MNIST_STD
from effbench.data.in_memory import InMemoryData
from effbench.data.paths import data_folder, shown
from effbench.data.splits import stratified_split

_FOLDERS = {"MNIST": "MNIST/raw", "FashionMNIST": "FashionMNIST/raw", "CIFAR10": "cifar-10-batches-py"}
"""Where torchvision keeps each set, in its root."""


def mnist(
    *, root: str, side: int = 28, split_seed: int = 0, n_val: int = 10_000, augment: Augmentation = "none"
) -> InMemoryData:
    """Return MNIST (LeCun et al. 1998): 60,000 training images less `n_val` for validation, 10,000 test images."""
    return _load("MNIST", root, side, split_seed, n_val, MNIST_MEAN, MNIST_STD, augment)


def fashion_mnist(
    *, root: str, side: int = 28, split_seed: int = 0, n_val: int = 10_000, augment: Augmentation = "none"
) -> InMemoryData:
    """Return Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747), split as MNIST is."""
    return _load("FashionMNIST", root, side, split_seed, n_val, (0.2860,), (0.3530,), augment)


def cifar10(
    *, root: str, side: int = 32, split_seed: int = 0, n_val: int = 5_000, augment: Augmentation = "crop_flip"
) -> InMemoryData:
    """Return CIFAR-10 (Krizhevsky 2009): 50,000 training images less `n_val` for validation, 10,000 test images."""
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    return _load("CIFAR10", root, side, split_seed, n_val, mean, std, augment)


def _load(
    kind: str,
    root: str,
    side: int,
    split_seed: int,
    n_val: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    augment: Augmentation = "none",
) -> InMemoryData:
    training, test = _read(kind, root, train=True), _read(kind, root, train=False)
    images, labels = training
    if not 0 < n_val < len(labels):
        raise ValueError(f"data.n_val={n_val}: must be between 1 and {len(labels) - 1}")
    share = n_val / len(labels)
    parts = stratified_split(labels.numpy(), (1 - share, share, 0.0), seed=split_seed)
    in_training: tuple[Split, ...] = ("train", "val")
    return InMemoryData(
        name=kind.lower(),
        n_classes=10,
        images={**{split: images[parts[split]] for split in in_training}, "test": test[0]},
        labels={**{split: labels[parts[split]] for split in in_training}, "test": test[1]},
        mean=mean,
        std=std,
        side=side,
        augment=augment,
    )


def _read(kind: str, root: str, *, train: bool) -> tuple[Tensor, Tensor]:
    """Return images (n, channels, side, side) uint8 and labels (n,) int64. ValueError where they can't be had."""
    folder = data_folder(root)
    source = getattr(torchvision.datasets, kind)
    try:
        dataset = source(folder, train=train, download=False)
    except RuntimeError as error:
        if "not found" not in str(error):  # torchvision's words for "not there, or not whole"
            raise _unreadable(kind, folder, error) from None
        dataset = _downloaded(source, kind, folder, train=train)
    except Exception as error:  # whatever reading half a file raises
        raise _unreadable(kind, folder, error) from None
    pixels, labels = np.asarray(dataset.data), torch.as_tensor(dataset.targets, dtype=torch.int64)
    if len(pixels) != len(labels):
        raise _unreadable(kind, folder, f"{len(pixels)} images, {len(labels)} labels")
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))), labels


def _downloaded(source: Any, kind: str, folder: Path, *, train: bool) -> Any:
    """Return the data set after its download. ValueError where that fails; then no empty folder is left behind."""
    place = folder / _FOLDERS[kind]
    is_there = place.is_dir()
    made = [path for path in (place, *place.parents) if not path.exists()]
    try:
        return source(folder, train=train, download=True)
    except Exception as error:
        what, reason = "is not whole there" if is_there else "is not there", shown(first_line(error).rstrip(":"))
        raise ValueError(
            f"data.root={shown(folder)}: {kind} {what} and can't be downloaded ({reason}); "
            f"give the folder that holds torchvision's copy"
        ) from None
    finally:
        for path in made:
            with suppress(OSError):  # it is not there, or holds what was downloaded
                path.rmdir()


def _unreadable(kind: str, folder: Path, reason: Exception | str) -> ValueError:
    said = reason if isinstance(reason, str) else kind_and_line(reason)
    place = folder / _FOLDERS[kind]
    return ValueError(
        f"data.root={shown(folder)}: {kind} can't be read ({shown(said)}); "
        f"remove {shown(place)}, and it is downloaded again"
    )
