"""A folder resized once is the same data set wherever it is held; `test_image_folder` tests what it holds."""

import numpy as np
import pytest
import torch
from PIL import Image

from effbench.data import SPLITS
from effbench.data.held_data import HeldData
from effbench.data.image_folder import image_folder
from effbench.data.in_memory import InMemoryData


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / name).mkdir()
        for number in range(10):
            pixels = rng.integers(0, 256, (14, 9 + number, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def load(root, tmp_path, **options):
    defaults = {"side": 8, "augment": "crop_flip", "cache_root": str(tmp_path / "cache"), "workers": 0}
    return image_folder(root=str(root), **{**defaults, **options})


def batches(data, side, seed=1):
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return [b for split in SPLITS for b in data.batches(split, side=side, batch_size=5, generator=generator)]


def assert_same(one, other):
    assert one.fingerprint == other.fingerprint
    for side in (8, 5):
        for ours, theirs in zip(batches(one, side), batches(other, side), strict=True):
            assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])


@pytest.mark.parametrize(
    ("options", "channels"),
    [({"cache": "disk"}, 3), ({"cache": "disk"}, 1), ({"cache": "none"}, 1), ({"cache": "none", "workers": 2}, 3)],
)
def test_how_images_are_held_decides_nothing(root, tmp_path, options, channels):
    kept = load(root, tmp_path, cache="memory", channels=channels)
    held = load(root, tmp_path, channels=channels, **options)
    assert isinstance(kept, InMemoryData) and isinstance(held, HeldData)
    assert held.fingerprint == kept.fingerprint
    assert not (tmp_path / "cache").exists(), "a plan writes nothing"
    assert_same(held, kept)
    assert (tmp_path / "cache").exists() == (options["cache"] == "disk")
    if "workers" not in options:
        assert_same(load(root, tmp_path, channels=channels, **options), kept)


def test_what_is_on_disk_belongs_to_the_files_and_the_side(root, tmp_path):
    for options in ({}, {"augment": "none"}, {"mean": (0, 0, 0)}, {"side": 6}, {"channels": 1}, {"crop_share": 0.5}):
        batches(load(root, tmp_path, cache="disk", **options), 8)
    # Augmentation and normalisation are done to the same pixels.
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 4
    path = root / "a" / "0.png"
    before = path.read_bytes()
    Image.fromarray(np.full((9, 9, 3), 9, np.uint8)).save(path)
    try:
        assert_same(load(root, tmp_path, cache="disk"), load(root, tmp_path, cache="memory"))
    finally:
        path.write_bytes(before)


def test_null_is_as_suits_what_is_free(root, tmp_path, monkeypatch):
    assert isinstance(load(root, tmp_path), InMemoryData)
    monkeypatch.setattr("effbench.data.folder_resized.suited_cache", lambda n_bytes: "none")
    assert isinstance(load(root, tmp_path), HeldData)
