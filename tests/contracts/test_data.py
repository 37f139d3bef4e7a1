"""What every data set owes: each configuration in conf/data, and each kind of implementation."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch.utils.data import Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from effbench.data import SPLITS, ImageData
from effbench.data.image_folder import image_folder
from effbench.data.pool import AugmentedPool
from effbench.data.scenes import scenes
from effbench.data.user_datasets import user_data
from effbench.plan.blueprint import Blueprint

CONF = Path(__file__).parents[2] / "conf"
CONFIGURATIONS = sorted((CONF / "data").glob("*.yaml"), key=lambda path: path.stem)


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.stem)
class TestConfiguration:
    def test_says_what_suits_the_data(self, path):
        node = yaml.safe_load(path.read_text())
        assert set(node["epochs"]) == {"train", "finetune"}
        assert all(isinstance(n, int) and n > 0 for n in node["epochs"].values())
        assert isinstance(node["side"], int) and node["side"] > 0

    def test_names_every_option_of_its_factory_and_no_other(self, path):
        node = yaml.safe_load(path.read_text())
        keys = set(node) - {"_target_", "epochs", "tasks"}
        assert keys == Blueprint(node["_target_"]).parameters

    def test_is_for_tasks_that_there_are(self, path):
        names = yaml.safe_load(path.read_text())["tasks"]
        assert names
        assert set(names) <= {task.stem for task in (CONF / "task").glob("*.yaml")}

    def test_a_split_follows_its_seed(self, path):
        assert "split_seed" in Blueprint(yaml.safe_load(path.read_text())["_target_"]).parameters


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        (root / name).mkdir()
        for number in range(20):
            Image.fromarray(rng.integers(0, 256, (11, 9, 3)).astype(np.uint8)).save(root / name / f"{number:02}.png")
    return str(root)


@pytest.fixture(scope="module")
def few_scenes():
    return scenes(side=32, n_train=50, n_val=20, n_test=20)


@pytest.fixture(scope="module")
def users(folder):
    """A user's Datasets: (train, val, test) of torchvision, pictures without augmentation."""
    whole = ImageFolder(folder, transforms.Compose([transforms.Resize((8, 8)), transforms.ToTensor()]))
    return [Subset(whole, range(first, 60, 3)) for first in range(3)]


KINDS = ["digits", "in memory", "folder", "folder in memory", "folder on disk", "folder nowhere", "scenes", "pool"]
KINDS += ["user's in memory", "user's on disk", "user's nowhere"]


@pytest.fixture(params=KINDS)
def data(request, folder, digits_data, make_toy_data, few_scenes, users, tmp_path):
    """One data set of each kind, with augmentation where it has it."""
    if request.param == "digits":
        return digits_data
    if request.param == "in memory":
        return make_toy_data(augment="crop_flip")
    if request.param == "scenes":
        return few_scenes
    if request.param == "pool":
        return AugmentedPool.of(make_toy_data(augment="crop_flip"), n_copies=2)
    cache = {"in memory": "memory", "on disk": "disk", "nowhere": "none"}.get(request.param.partition(" ")[2])
    options = {"side": 8, "augment": "crop_flip", "cache": cache, "cache_root": str(tmp_path), "workers": 0}
    if request.param.startswith("user's"):
        return user_data(users, **options)
    return image_folder(root=folder, resize_once=cache is not None, **options)


def batches(data, split="val", *, side=None, seed=None, batch_size=16, **options):
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    side = data.side if side is None else side
    return list(data.batches(split, side=side, batch_size=batch_size, generator=generator, **options))


def test_describes_itself(data):
    assert isinstance(data, ImageData)
    assert data.name and isinstance(data.name, str)
    assert data.n_classes >= 2
    assert data.channels in (1, 3)
    assert data.side >= 1
    assert len(data.fingerprint) >= 16 and data.fingerprint == data.fingerprint


@pytest.mark.parametrize("split", SPLITS)
def test_batches_have_the_promised_types_shapes_and_number(data, split):
    passed = batches(data, split, seed=0)
    n, label_shape = data.n_examples(split), data.labels[split].shape[1:]
    assert label_shape == () or len(label_shape) == 2
    assert [len(labels) for _, labels in passed] == [16] * (n // 16) + [n % 16] * (n % 16 > 0)
    for images, labels in passed:
        assert labels.shape[1:] == label_shape
        assert images.shape == (len(labels), data.channels, data.side, data.side)
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
        assert type(images) is torch.Tensor
        assert images.isfinite().all()
        assert 0 <= labels.min() and labels.max() < data.n_classes


def test_the_order_is_fixed_whatever_the_batch_size(data):
    images, labels = (torch.cat(parts) for parts in zip(*batches(data), strict=True))
    ((whole_images, whole_labels),) = batches(data, batch_size=1000)
    assert torch.equal(images, whole_images)
    assert torch.equal(labels, whole_labels)
    assert torch.equal(labels, data.labels["val"].long())


def test_examples_have_the_numbers_of_their_labels(data):
    for seed in (None, 0):
        labels = torch.cat([labels for _, labels in batches(data, "train", seed=seed, fraction=0.5)])
        numbers = torch.cat([labels for _, labels in batches(data, "train", seed=seed, fraction=0.5, numbered=True)])
        assert torch.equal(data.labels["train"][numbers].long(), labels)


@pytest.mark.matrix(fast=5)
def test_a_generator_decides_order_and_augmentation(data):
    first, again, second = (
        torch.cat([images for images, _ in batches(data, "train", seed=seed)]) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_a_shuffled_pass_without_augmentation_has_the_images_that_evaluation_has(data):
    plain = torch.cat([images for images, _ in batches(data, "train")])
    shuffled, numbers = (
        torch.cat(parts) for parts in zip(*batches(data, "train", seed=0, augmented=False, numbered=True), strict=True)
    )
    n = data.n_examples("train")
    assert torch.equal(numbers.sort().values, torch.arange(n))
    assert not torch.equal(numbers, torch.arange(n))
    assert torch.equal(shuffled, plain[numbers])


def test_shuffling_loses_no_example(data):
    numbers = torch.cat([numbers for _, numbers in batches(data, "train", seed=0, numbered=True)])
    n = data.n_examples("train")
    assert torch.equal((numbers % n).sort().values, torch.arange(n))
    assert not torch.equal(numbers % n, torch.arange(n))


@pytest.mark.matrix(fast=8)
@pytest.mark.parametrize("side", [5, 13])
def test_images_come_at_the_side_asked_for(data, side):
    for seed in (None, 0):
        images, labels = batches(data, "train", side=side, seed=seed)[0]
        assert images.shape == (len(labels), data.channels, side, side)
        assert labels.shape[1:] == data.labels["train"].shape[1:]
    assert torch.equal(torch.cat([k for _, k in batches(data, side=side)]), torch.cat([k for _, k in batches(data)]))


def test_a_fraction_keeps_the_same_examples_for_every_seed(data):
    n = data.n_examples("train")
    chosen = [
        torch.cat([numbers for _, numbers in batches(data, "train", seed=seed, fraction=0.3, numbered=True)]) % n
        for seed in (0, 1)
    ]
    assert len(chosen[0]) == round(0.3 * n)
    assert torch.equal(chosen[0].sort().values, chosen[1].sort().values)


def test_global_random_state_is_left_alone(data):
    before = torch.get_rng_state()
    batches(data, "train", seed=0)
    batches(data)
    assert torch.equal(torch.get_rng_state(), before)


def test_every_class_is_in_every_split(data):
    for split in SPLITS:
        assert len(torch.cat([labels for _, labels in batches(data, split)]).unique()) == data.n_classes
