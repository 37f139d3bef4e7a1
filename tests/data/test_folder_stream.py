"""A folder whose images come from their files in every pass, wherever they are held; more is in `test_image_folder`."""

import numpy as np
import pytest
import torch
from PIL import Image

from effbench.data import SPLITS
from effbench.data.folder_stream import ImageFolder
from effbench.data.image_folder import image_folder


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


def passes(data, sides=(8, 5), splits=SPLITS):
    generator = torch.Generator().manual_seed(1)
    kept = [
        batch
        for side in sides
        for split in splits
        for how in ({"generator": generator}, {"generator": generator, "numbered": True, "fraction": 0.5}, {})
        for batch in data.batches(split, side=side, batch_size=4, **how)
    ]
    return [torch.cat([batch[place].flatten().float() for batch in kept]) for place in (0, 1)]


@pytest.mark.parametrize(("augment", "channels"), [("crop_flip", 1), ("resized_crop", 3)])
def test_how_images_are_held_decides_nothing(root, tmp_path, augment, channels):
    options = {"side": 8, "augment": augment, "channels": channels, "resize_once": False, "workers": 0}
    plain = image_folder(root=str(root), **options)
    for cache, workers in (("memory", 0), ("disk", 0), ("disk", 2)):
        held = image_folder(root=str(root), **{**options, "workers": workers}, cache=cache, cache_root=str(tmp_path))
        assert isinstance(held, ImageFolder) and held.pictures is not None
        assert held.fingerprint == plain.fingerprint
        asked = {"sides": (8,), "splits": ("train",)} if workers else {}
        assert all(
            torch.equal(ours, theirs)
            for ours, theirs in zip(passes(held, **asked), passes(plain, **asked), strict=True)
        )
