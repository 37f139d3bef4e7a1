"""Data that a user brings, whatever they come in: the same content is the same data set, to the bit."""

import logging
import pickle
from typing import ClassVar

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, TensorDataset

from effbench.data import SPLITS, user_scans
from effbench.data.paths import remark
from effbench.data.user_datasets import user_data

SIZES = {"train": 24, "val": 8, "test": 12}


def arrays(dtype=np.uint8, *, side=6, channels=3, n_classes=4, seed=0):
    """Images (n, side, side, channels) and labels of each split."""
    rng = np.random.default_rng(seed)
    return {
        split: (
            rng.integers(0, 256, (n, side, side, channels)).astype(dtype),
            rng.permutation(np.arange(n) % n_classes),
        )
        for split, n in SIZES.items()
    }


def tensors(pair):
    return torch.from_numpy(pair[0]).permute(0, 3, 1, 2), torch.from_numpy(pair[1])


class Module:
    def setup(self, stage):
        self.sets = {split: TensorDataset(*tensors(pair)) for split, pair in arrays().items()}

    def train_dataloader(self):
        return DataLoader(self.sets["train"], batch_size=5, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.sets["val"])

    def test_dataloader(self):
        return DataLoader(self.sets["test"])


CONTAINERS = {
    "arrays": arrays,
    "tuples": lambda: tuple(list(zip(*pair, strict=True)) for pair in arrays().values()),
    "tensors": lambda: [TensorDataset(*tensors(pair)) for pair in arrays().values()],
    "pictures": lambda: [[(Image.fromarray(x), int(y)) for x, y in zip(*p, strict=True)] for p in arrays().values()],
    "mappings": lambda: [
        [{"image": Image.fromarray(x), "label": int(y)} for x, y in zip(*p, strict=True)] for p in arrays().values()
    ],
    "loaders": lambda: [DataLoader(TensorDataset(*tensors(p)), shuffle=True) for p in arrays().values()],
    "module": Module,
}


@pytest.fixture(autouse=True)
def forgetful():
    user_scans._known.clear()
    remark.cache_clear()


def batches(data, seed, side):
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return [b for split in SPLITS for b in data.batches(split, side=side, batch_size=7, generator=generator)]


def assert_same(one, other, sides=(6, 4)):
    for side in sides:
        for seed in (None, 1):
            for ours, theirs in zip(batches(one, seed, side), batches(other, seed, side), strict=True):
                assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("container", CONTAINERS)
def test_equal_content_is_equal_data_in_any_container(container):
    data, plain = user_data(CONTAINERS[container]()), user_data(arrays())
    assert data.fingerprint == plain.fingerprint == "683070059a290a1f"
    assert (data.n_classes, data.channels, data.side, data.name) == (4, 3, 6, "user")
    assert_same(data, plain)
    images, labels = next(data.batches("test", side=6, batch_size=12))
    assert torch.equal(images, tensors(arrays()["test"])[0] / 255)
    assert torch.equal(labels, torch.from_numpy(arrays()["test"][1]))


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("holding", [{"cache": "disk"}, {"cache": "none"}, {"cache": "none", "workers": 2}])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_how_images_are_held_decides_nothing(tmp_path, holding, dtype):
    given = {split: TensorDataset(*tensors(pair)) for split, pair in arrays(dtype).items()}
    options = {"augment": "crop_flip", "split_seed": 3}
    kept = user_data({"train": given["train"], "test": given["test"]}, cache="memory", **options)
    data = user_data({"train": given["train"], "test": given["test"]}, cache_root=str(tmp_path), **holding, **options)
    assert data.fingerprint == kept.fingerprint
    sent = pickle.loads(pickle.dumps(data))
    if "workers" in holding:
        ours, theirs = (batches(one, 1, 6) for one in (sent, kept))
        assert all(torch.equal(x[0], y[0]) for x, y in zip(ours, theirs, strict=True))
    else:
        assert_same(sent, kept)
        assert_same(data, pickle.loads(pickle.dumps(kept)))


@pytest.mark.extended
def test_what_decides_the_batches_is_in_the_fingerprint():
    def shifted(split, place):
        given = arrays()
        given[split][place][3] += 1
        return given

    given = arrays()
    every = [user_data(given), user_data(given, side=5), user_data(given, augment="crop_flip")]
    every += [user_data(shifted(split, 0)) for split in SPLITS] + [user_data(shifted(split, 1)) for split in SPLITS]
    every += [user_data(arrays(np.float32)), user_data({**given, "val": given["test"], "test": given["val"]})]
    every += [user_data((given["train"], given["test"]), split_seed=seed) for seed in (0, 1)]
    prints = [data.fingerprint for data in every]
    assert len(set(prints)) == len(prints)
    assert user_data(given, name="other", cache="none").fingerprint == prints[0]
    assert user_data(arrays(np.float64)).fingerprint == user_data(arrays(np.float32)).fingerprint


def test_validation_is_split_off_train_seeded_stratified_and_said(caplog):
    given = arrays(n_classes=3)
    with caplog.at_level(logging.WARNING):
        one, again, other = (user_data((given["train"], given["test"]), split_seed=s) for s in (0, 0, 1))
    assert "data: without a validation split, 6 of train's 24 examples are it (data.split_seed=0)" in caplog.messages
    for data in (one, other):
        assert data.labels["val"].bincount().tolist() == [2, 2, 2]
        assert (data.n_examples("train"), data.n_examples("test")) == (18, 12)
        parts = [data.batches(split, side=6, batch_size=9) for split in ("train", "val")]
        seen = torch.cat([images for batches in parts for images, _ in batches])
        whole = tensors(given["train"])[0] / 255
        assert sorted(image.numpy().tobytes() for image in seen) == sorted(image.numpy().tobytes() for image in whole)
    assert_same(one, again)
    first, second = (next(data.batches("val", side=6, batch_size=6))[0] for data in (one, other))
    assert not torch.equal(first, second)
    larger = user_data((given["train"], given["test"]), shares=(0.5, 0.5, 0))
    assert (larger.n_examples("val"), larger.name) == (12, "user")


def test_floats_are_seen_as_they_are_and_resized_like_others():
    given = {split: (tensors(pair)[0].double() - 3.5, pair[1]) for split, pair in arrays().items()}
    data = user_data(given)
    images, _ = next(data.batches("train", side=6, batch_size=24))
    assert torch.equal(images, given["train"][0].float())
    smaller, _ = next(user_data(given, side=3).batches("train", side=3, batch_size=24))
    wanted = torch.nn.functional.interpolate(images, size=(3, 3), mode="bilinear", antialias=True)
    assert torch.equal(smaller, wanted)


def test_a_class_for_each_pixel():
    rng = np.random.default_rng(0)
    given = {split: (pair[0], rng.integers(0, 3, (len(pair[0]), 6, 6))) for split, pair in arrays().items()}
    data = user_data(given)
    assert (data.n_classes, data.labels["val"].dtype, data.labels["val"].shape) == (3, torch.uint8, (8, 6, 6))
    images, maps = next(data.batches("val", side=4, batch_size=8))
    assert images.shape == (8, 3, 4, 4) and torch.equal(maps, torch.from_numpy(given["val"][1]))
    two = user_data((given["train"], given["test"]))
    assert two.n_examples("val") == 6
    with pytest.raises(ValueError, match=r"data\.augment=affine: must be none where each pixel has a class"):
        user_data(given, augment="affine")


def test_copies_between_splits_and_missing_classes_are_said(caplog):
    given = arrays()
    given["test"][0][:5] = given["train"][0][:5]
    given["val"][0][0] = given["train"][0][0]
    given["val"][1][:] = 6
    with caplog.at_level(logging.WARNING):
        data = user_data(given)
    assert data.n_classes == 7
    assert caplog.messages[-4:] == [
        "data: of 7 classes, train has no example of 4, 5, 6",
        "data: 1 of val's 8 images are in train, too",
        "data: 5 of test's 12 images are in train, too",
        "data: 1 of test's 12 images are in val, too",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"side": 0}, r"data\.side=0: must be a whole number, 1 or more, or null"),
        ({"side": 2.5}, r"data\.side=2\.5"),
        ({"side": True}, r"data\.side=True"),
        ({"split_seed": -1}, r"data\.split_seed=-1"),
        ({"augment": "warp"}, r"data\.augment=warp: must be none, crop_flip, affine"),
        ({"cache": "ram"}, r"data\.cache=ram"),
        ({"workers": -1}, r"data\.workers=-1"),
        ({"shares": (1, 0, 0)}, r"data\.shares=\[1, 0, 0\]"),
        ({"shares": (0.5, 0.5)}, r"data\.shares=\[0\.5, 0\.5\]"),
        ({"shares": (0.9999, 0.0001, 0)}, "data: 24 examples are too few: the val split would be empty; give val"),
    ],
)
def test_options_that_can_not_be_are_refused_in_a_line(options, said):
    given = arrays()
    with pytest.raises(ValueError, match=f"^{said}"):
        user_data((given["train"], given["test"]), **options)


def test_labels_that_are_no_classes_are_refused():
    given = arrays()
    given["train"][1][0] = 10**6
    with pytest.raises(ValueError, match=r"^data: labels go up to 1000000, of 5 classes; number them from 0 on$"):
        user_data(given)
    one = {split: (images, labels * 0 + 2) for split, (images, labels) in arrays().items()}
    with pytest.raises(ValueError, match=r"^data: every label is 2; there must be two classes or more$"):
        user_data(one)


class Large(Dataset):
    """Images of 768 KiB, and how much memory this process has whenever one is read."""

    rss: ClassVar[list[int]] = []

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, number):
        self.rss.append(psutil.Process().memory_info().rss)
        return torch.full((3, 256, 256), float(number)), number % 2


@pytest.mark.extended
def test_a_data_set_larger_than_the_memory_it_takes_streams():
    list(user_data((Large(2), Large(3), Large(2)), cache="none").batches("train", side=256, batch_size=8))
    start = Large.rss[-1]
    data = user_data((Large(150), Large(2), Large(2)), cache="none")
    n = sum(len(images) for images, _ in data.batches("train", side=256, batch_size=8, generator=torch.Generator()))
    assert n == 150
    assert max(Large.rss) - start < 60 * 2**20, "of 112 MiB of images"
