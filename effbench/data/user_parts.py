"""The splits of data that a user brings, whatever they come in: two or three things with a length, read by number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import IterableDataset

from effbench.data.base import SPLITS, Split
from effbench.data.data_module import dataset_of, is_data_module, parts_of_module
from effbench.data.folder_layout import split_of
from effbench.data.paths import shown

HOW = "(train, val, test), or (train, test), of Datasets or of (X, y)"
"""How data are given."""


class Pairs(Sequence[tuple[Any, Any]]):
    """Images and their labels, an array of each, as a Dataset."""

    def __init__(self, images: Any, labels: Any) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: Any) -> Any:
        return self.images[number], self.labels[number]


def parts_of(given: Any, /, *, seed: int) -> dict[Split, Any]:
    """Return what can be read by number, by split; without val where there is none. ValueError for anything else.

    seed: of what a DataModule splits at random.
    """
    if is_data_module(given):
        parts = parts_of_module(given, seed=seed)
    elif isinstance(given, Mapping):
        parts = _by_name(given)
    elif isinstance(given, tuple | list):
        parts = _by_place(given)
    else:
        is_one = _has_items(given) or _is_array(given) or hasattr(given, "dataset")
        what = "is one split alone" if is_one else "holds no splits"
        raise ValueError(f"data: what is given ({type(given).__name__}) {what}; give {HOW}")
    return {split: _readable(dataset_of(parts[split], split), split) for split in SPLITS if split in parts}


def _by_name(given: Mapping[Any, Any]) -> dict[Split, Any]:
    parts: dict[Split, Any] = {}
    for name, part in given.items():
        split = split_of(name) if isinstance(name, str) else None
        if split is None or split in parts:
            wrong = "is no split" if split is None else f"is {split} once more"
            raise ValueError(f"data: {shown(name)!r} {wrong}; the keys must be train, val and test, or train and test")
        parts[split] = part
    missing = [split for split in ("train", "test") if split not in parts]
    if missing:
        raise ValueError(
            f"data: there is no {missing[0]} among {', '.join(map(shown, given)) or 'no splits'}; give {HOW}"
        )
    return parts


def _by_place(given: Sequence[Any]) -> dict[Split, Any]:
    if len(given) == 2 and all(map(_is_array, given)):
        raise ValueError(f"data: one (X, y) is one split alone; give {HOW}")
    if len(given) == 4 and all(map(_is_array, given)):  # as train_test_split returns them
        raise ValueError("data: 4 arrays; give ((X_train, y_train), (X_test, y_test))")
    if len(given) == 3:
        return dict(zip(SPLITS, given, strict=True))
    if len(given) != 2:
        raise ValueError(f"data: {len(given)} parts; give {HOW}")
    return {"train": given[0], "test": given[1]}


def _readable(part: Any, split: Split) -> Any:
    """Return a part with a length and items by number. ValueError says what is missing."""
    if part is None:
        raise ValueError(f"data: {split} is nothing (None); give {HOW}")
    if _is_pair(part):
        images, labels = (np.asarray(side) if hasattr(side, "iloc") else side for side in part)
        if len(images) != len(labels):
            raise ValueError(f"data: {split} has {len(images)} images, but {len(labels)} labels")
        part = Pairs(images, labels)
    if _is_array(part):
        raise ValueError(f"data: {split} is an array without labels; must be a Dataset, or (X, y)")
    if isinstance(part, IterableDataset) or not _has_items(part):
        kind = "an IterableDataset" if isinstance(part, IterableDataset) else f"a {type(part).__name__}"
        raise ValueError(
            f"data: {split} is {kind}, which has no length and no examples by number; must be a Dataset with __len__ "
            "and __getitem__, or (X, y)"
        )
    try:
        n_examples = len(part)
    except (Exception, SystemExit) as error:
        raise ValueError(f"data: {split} does not tell its length: {type(error).__name__}: {shown(error)}") from None
    if n_examples == 0:
        raise ValueError(f"data: {split} is empty; there must be examples in every split")
    return part


def _is_array(value: Any) -> bool:
    """Whether this is an array, of NumPy, torch or pandas, or in a file (h5py, zarr)."""
    is_like = all(hasattr(value, name) for name in ("shape", "dtype", "ndim", "__getitem__", "__len__"))
    return isinstance(value, np.ndarray | Tensor) or hasattr(value, "iloc") or is_like


def _is_pair(part: Any) -> bool:
    """Whether a part is (X, y): two arrays, or lists; a Dataset may be a list of two examples."""
    if not isinstance(part, tuple | list) or len(part) != 2:
        return False
    images, labels = part
    is_first = _is_array(images) and getattr(images, "ndim", 0) > 0
    return (is_first and (_is_array(labels) or isinstance(labels, list | tuple))) or (
        isinstance(images, list) and (isinstance(labels, list) or _is_array(labels))
    )


def _has_items(part: Any) -> bool:
    is_text = isinstance(part, str | bytes | Mapping)
    return not is_text and hasattr(part, "__getitem__") and hasattr(part, "__len__")
