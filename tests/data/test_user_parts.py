"""In which containers the splits of a user's data come, and what is said of others."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from effbench.data.user_parts import Pairs, parts_of

X, Y = np.zeros((6, 4, 4), dtype=np.uint8), np.arange(6) % 2
PAIR = (X, Y)
EXAMPLES = [(image, int(label)) for image, label in zip(X, Y, strict=True)]


class InAFile:
    """An array as h5py has it."""

    shape, dtype, ndim = X.shape, X.dtype, 3

    def __len__(self):
        return len(X)

    def __getitem__(self, number):
        return X[number]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(EXAMPLES)


class WithoutLength(Dataset):
    def __getitem__(self, number):
        return EXAMPLES[number]


class BrokenLength(WithoutLength):
    def __len__(self):
        raise KeyError("rows")


class Module:
    def train_dataloader(self):
        return DataLoader(EXAMPLES)

    test_dataloader = train_dataloader


@pytest.mark.parametrize(
    "given",
    [
        (PAIR, PAIR),
        [list(PAIR), EXAMPLES],
        ((InAFile(), Y), (np.array(X), Y.astype(float))),
        ((list(X), list(Y)), (torch.from_numpy(X), pd.Series(Y))),
        {"training": EXAMPLES, "TEST": PAIR},
        (DataLoader(EXAMPLES, shuffle=True), TensorDataset(torch.zeros(3, 1, 4, 4), torch.zeros(3))),
        Module,
        Module(),
    ],
)
def test_two_splits_in_any_container(given):
    parts = parts_of(given, seed=0)
    assert list(parts) == ["train", "test"]
    for part in parts.values():
        assert len(part) in (3, 6)
        image, label = part[1]
        assert np.shape(image)[-2:] == (4, 4) and int(label) in (0, 1)


def test_three_splits_by_place_or_by_name():
    one, two, three = (EXAMPLES[:n] for n in (3, 4, 5))
    for given in ((one, two, three), {"test": three, "validation": two, "train": one}):
        assert {split: len(part) for split, part in parts_of(given, seed=0).items()} == {
            "train": 3,
            "val": 4,
            "test": 5,
        }
    assert isinstance(parts_of((PAIR, PAIR, PAIR), seed=0)["val"], Pairs)
    assert parts_of((EXAMPLES[:2], EXAMPLES[:2]), seed=0)["train"] == EXAMPLES[:2], (
        "a list of two examples is no (X, y)"
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (PAIR, r"one \(X, y\) is one split alone; give \(train, val, test\)"),
        ((X, X, Y, Y), r"4 arrays; give \(\(X_train, y_train\), \(X_test, y_test\)\)"),
        (X, r"what is given \(ndarray\) is one split alone"),
        (TensorDataset(torch.zeros(2)), r"what is given \(TensorDataset\) is one split alone"),
        (DataLoader(EXAMPLES), r"what is given \(DataLoader\) is one split alone"),
        (None, r"what is given \(NoneType\) holds no splits"),
        ("photos", r"what is given \(str\) holds no splits"),
        (3, r"what is given \(int\) holds no splits"),
        ((), "0 parts"),
        ((EXAMPLES,), "1 parts"),
        ((EXAMPLES,) * 5, "5 parts"),
        ({}, "there is no train among no splits"),
        ({"train": EXAMPLES}, "there is no test among train"),
        ({"train": EXAMPLES, "val": EXAMPLES}, "there is no test among train, val"),
        ({"train": EXAMPLES, "tset": EXAMPLES}, "'tset' is no split"),
        ({0: EXAMPLES}, "'0' is no split"),
        ({"train": EXAMPLES, "Training": EXAMPLES}, "'Training' is train once more"),
        ((EXAMPLES, None), r"test is nothing \(None\)"),
        ((EXAMPLES, X), "test is an array without labels"),
        ((EXAMPLES, (X, Y[:5])), "test has 6 images, but 5 labels"),
        ((EXAMPLES, Stream()), "test is an IterableDataset, which has no length"),
        ((DataLoader(Stream()), EXAMPLES), "train is an IterableDataset"),
        ((EXAMPLES, WithoutLength()), "test is a WithoutLength, which has no length"),
        ((EXAMPLES, {"a": 1}), "test is a dict"),
        ((EXAMPLES, "photos/test"), "test is a str"),
        ((EXAMPLES, iter(EXAMPLES)), "test is a list_iterator"),
        ((EXAMPLES, []), "test is empty"),
        (((X[:0], Y[:0]), EXAMPLES), "train is empty"),
        ((EXAMPLES, BrokenLength()), "test does not tell its length: KeyError: 'rows'"),
    ],
)
def test_anything_else_is_refused_in_a_line(given, said):
    with pytest.raises(ValueError, match=rf"^data: {said}") as refused:
        parts_of(given, seed=0)
    assert len(str(refused.value).splitlines()) == 1
