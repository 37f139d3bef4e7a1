"""The sets are read from tiny files in torchvision's own formats; nothing is downloaded."""

import hashlib
import pickle
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision.datasets

from effbench.data.torchvision_sets import cifar10, fashion_mnist, mnist

N_TRAIN, N_TEST = 100, 30


def write_idx(path, values):
    head = bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
    path.write_bytes(head + values.tobytes())


def pairs(images, labels):
    return {(image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)}


@pytest.fixture(params=[("MNIST", mnist), ("FashionMNIST", fashion_mnist)], ids=["mnist", "fashion_mnist"])
def grey_set(request, tmp_path):
    """A root with a tiny set, its images and labels, and the factory that reads it."""
    name, factory = request.param
    rng = np.random.default_rng(0)
    folder = tmp_path / name / "raw"
    folder.mkdir(parents=True)
    written = {}
    for part, prefix, n_examples in (("train", "train", N_TRAIN), ("test", "t10k", N_TEST)):
        images = rng.integers(0, 256, (n_examples, 28, 28)).astype(np.uint8)
        labels = rng.permutation(np.arange(n_examples) % 10).astype(np.uint8)
        write_idx(folder / f"{prefix}-images-idx3-ubyte", images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", labels)
        written[part] = (images, labels)
    return tmp_path, written, factory


def test_grey_sets(grey_set):
    root, written, factory = grey_set
    data = factory(root=str(root), n_val=20)
    assert [data.n_examples(split) for split in ("train", "val", "test")] == [80, 20, 30]
    assert (data.channels, data.side, data.n_classes) == (1, 28, 10)
    assert torch.bincount(data.labels["val"]).tolist() == [2] * 10
    assert np.array_equal(data.images["test"][:, 0].numpy(), written["test"][0])
    assert np.array_equal(data.labels["test"].numpy(), written["test"][1])
    ours = [pairs(data.images[split].numpy(), data.labels[split]) for split in ("train", "val")]
    assert ours[0] | ours[1] == pairs(*written["train"])
    assert not ours[0] & ours[1]


def test_the_split_follows_its_seed_and_never_touches_the_test_images(grey_set):
    root, _, factory = grey_set
    first, again, second = (factory(root=str(root), n_val=20, split_seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != second.fingerprint
    assert torch.equal(first.images["test"], second.images["test"])


@pytest.mark.parametrize("n_val", [0, N_TRAIN, -5])
def test_a_validation_split_of_no_sensible_size_is_refused(grey_set, n_val):
    root, _, factory = grey_set
    with pytest.raises(ValueError, match=f"data.n_val={n_val}: must be between 1 and 99"):
        factory(root=str(root), n_val=n_val)


@pytest.fixture
def colour_root(tmp_path, monkeypatch):
    """A root with a tiny CIFAR-10; its class is told the new check sums."""
    rng = np.random.default_rng(0)
    folder = tmp_path / torchvision.datasets.CIFAR10.base_folder
    folder.mkdir()

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch(n_examples):
        pixels = rng.integers(0, 256, (n_examples, 3072)).astype(np.uint8)
        return {"data": pixels, "labels": [i % 10 for i in range(n_examples)]}

    train = [write(f"data_batch_{i}", batch(20)) for i in range(1, 6)]
    test_batch = batch(30)
    meta = write("batches.meta", {"label_names": [str(i) for i in range(10)]})
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "train_list", train)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "test_list", [write("test_batch", test_batch)])
    monkeypatch.setattr(
        torchvision.datasets.CIFAR10, "meta", {"filename": meta[0], "key": "label_names", "md5": meta[1]}
    )
    return tmp_path, test_batch


def test_cifar10(colour_root):
    root, test_batch = colour_root
    data = cifar10(root=str(root), n_val=10)
    assert [data.n_examples(split) for split in ("train", "val", "test")] == [90, 10, 30]
    assert (data.channels, data.side, data.augment) == (3, 32, "crop_flip")
    assert np.array_equal(data.images["test"].numpy(), test_batch["data"].reshape(-1, 3, 32, 32))
    assert data.labels["test"].tolist() == test_batch["labels"]


@pytest.mark.parametrize(("name", "factory"), [("MNIST", mnist), ("FashionMNIST", fashion_mnist), ("CIFAR10", cifar10)])
@pytest.mark.parametrize(
    "error", [RuntimeError("Error downloading"), URLError("no route to host"), OSError("disk full")]
)
def test_what_is_not_there_and_cannot_be_downloaded(monkeypatch, tmp_path, name, factory, error):
    asked = []

    class Unreachable:
        def __init__(self, root, train, download):
            asked.append(download)
            raise error if download else RuntimeError("Dataset not found.")

    monkeypatch.setattr(torchvision.datasets, name, Unreachable)
    with pytest.raises(ValueError, match=rf"data\.root={tmp_path}: {name} is not there and can't be downloaded \(.*\)"):
        factory(root=str(tmp_path))
    assert asked == [False, True]
    assert list(tmp_path.iterdir()) == []


SETS = [("MNIST", mnist), ("FashionMNIST", fashion_mnist), ("CIFAR10", cifar10)]


def without_network(monkeypatch):
    """Downloads fail, as torchvision's own functions see it."""

    def urlopen(request, *args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", urlopen)


@pytest.mark.parametrize(("name", "factory"), SETS)
@pytest.mark.parametrize("inside", [".", "no/such"])
def test_a_failed_download_leaves_no_folder(monkeypatch, tmp_path, name, factory, inside):
    without_network(monkeypatch)
    with pytest.raises(
        ValueError, match=f"{name} is not there and can't be downloaded .*(no route to host|Error downloading)"
    ):
        factory(root=str(tmp_path / inside))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "factory"), SETS)
def test_a_failed_download_leaves_what_was_there(monkeypatch, tmp_path, name, factory):
    without_network(monkeypatch)
    place = tmp_path / {"CIFAR10": "cifar-10-batches-py"}.get(name, f"{name}/raw")
    place.mkdir(parents=True)
    with pytest.raises(ValueError, match=f"{name} is not whole there and can't be downloaded"):
        factory(root=str(tmp_path))
    assert place.is_dir()


@pytest.mark.parametrize(("name", "factory"), SETS)
def test_roots_that_are_no_folder(tmp_path, name, factory):
    (tmp_path / "set.tar.gz").touch()
    (tmp_path / "set").touch()
    with pytest.raises(ValueError, match=r"data\.root=.*is an archive; unpack it"):
        factory(root=str(tmp_path / "set.tar.gz"))
    with pytest.raises(ValueError, match=r"data\.root=.*is a file"):
        factory(root=str(tmp_path / "set"))
    with pytest.raises(ValueError, match=r"data\.root=: must name a folder"):
        factory(root="")


def test_the_home_folder_may_be_given_by_its_sign(grey_set, monkeypatch):
    root, _, factory = grey_set
    monkeypatch.setenv("HOME", str(root))
    assert factory(root="~", n_val=20).fingerprint == factory(root=str(root), n_val=20).fingerprint


@pytest.mark.parametrize("n_bytes", [0, 3, 10, 1000])
@pytest.mark.parametrize("part", ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3"])
def test_half_a_file_is_said(grey_set, part, n_bytes):
    root, _, factory = grey_set
    path = next(root.glob(f"*/raw/{part}-ubyte"))
    path.write_bytes(path.read_bytes()[:n_bytes])
    if n_bytes == 1000 and "labels" in part:
        content = bytearray(path.read_bytes()[:-9])
        content[4:8] = (len(content) - 8).to_bytes(4)  # fewer labels than images
        path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"data\.root=.* can't be read \(.*\); remove .*/raw, and it is downloaded"
    ) as error:
        factory(root=str(root), n_val=20)
    assert str(error.value).isprintable()
