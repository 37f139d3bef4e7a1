"""MNIST, Fashion-MNIST and CIFAR-10 by torchvision: read from a folder, downloaded there on first use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torchvision.datasets
from torch import Tensor

from effbench.checks.errors import first_line
from effbench.data.augment import Augmentation
from effbench.data.base import Split
from effbench.data.digits import MNIST_MEAN, MNIST_STD
from effbench.data.in_memory import InMemoryData
from effbench.data.splits import stratified_split


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
    folder = Path(root).expanduser()
    source = getattr(torchvision.datasets, kind)
    try:
        dataset = source(folder, train=train, download=False)
    except RuntimeError:  # torchvision's word for "not there, or not whole"
        try:
            dataset = source(folder, train=train, download=True)
        except (RuntimeError, OSError) as error:
            reason = first_line(error)
            raise ValueError(
                f"data.root={root}: {kind} is not there and can't be downloaded ({reason}); "
                f"give the folder that holds torchvision's copy"
            ) from None
    pixels = np.asarray(dataset.data)
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    return images, torch.as_tensor(dataset.targets, dtype=torch.int64)
