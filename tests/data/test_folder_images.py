"""Images of a folder at one side, resized and cropped when they are asked for."""

import numpy as np
import pytest
import torch
from PIL import Image

from effbench.data.folder_images import FolderImages, centre_crop


@pytest.fixture
def files(tmp_path):
    """130 pictures of several sizes."""
    rng = np.random.default_rng(0)
    for number in range(130):
        pixels = rng.integers(0, 256, (9 + number % 3, 8 + number % 5, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number:03}.png")
    return [(path, 0) for path in sorted(tmp_path.iterdir())]


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_cropped_alike_one_by_one_and_in_order(files, channels):
    images = FolderImages(files, channels, 6, 0.75)
    assert images.shape == (130, channels, 6, 6)
    whole = torch.cat(list(images.in_order()))
    numbers = torch.tensor([129, 3, 64])
    assert torch.equal(images.read(numbers), whole[numbers])
    picture = Image.open(files[3][0]).convert("RGB" if channels == 3 else "L")
    resize, crop = centre_crop(6, 0.75)
    expected = np.asarray(crop(resize(picture)))
    assert resize.size == [8]
    assert np.array_equal(whole[3].permute(1, 2, 0).squeeze(2).numpy(), expected)


def test_one_that_is_broken_is_named_by_either(files):
    files[70][0].write_bytes(b"no image")
    images = FolderImages(files, 3, 6, 1.0)
    with pytest.raises(ValueError, match=r"070\.png: not a readable image"):
        images.read(torch.tensor([0, 70]))
    with pytest.raises(ValueError, match=r"070\.png: not a readable image"):
        list(images.in_order())
