"""Pictures of many sizes, decoded once: what comes out is what opening the file gives."""

import logging
import pickle

import numpy as np
import pytest
from PIL import Image

from effbench.data import folder_pictures
from effbench.data.folder_pictures import pictures_in_memory, pictures_on_disk
from effbench.data.image_files import open_image
from effbench.data.paths import remark


@pytest.fixture
def files(tmp_path):
    """Files of each split, one of them turned by its EXIF."""
    rng = np.random.default_rng(0)
    found = {}
    for split, n in (("train", 70), ("val", 2), ("test", 1)):
        (tmp_path / split).mkdir()
        for number in range(n):
            exif = Image.Exif()
            exif[0x0112] = 6 if number == 1 else 1
            pixels = rng.integers(0, 256, (5 + number % 4, 9, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / split / f"{number:02}.png", exif=exif)
        found[split] = [(path, 0) for path in sorted((tmp_path / split).iterdir())]
    return found


def hold(kind, files, channels, root):
    if kind == "memory":
        return pictures_in_memory(files, channels)
    return pictures_on_disk(files, channels, root=str(root), key="key")


@pytest.mark.parametrize("kind", ["memory", "disk"])
@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_pictures_are_those_of_the_files(files, kind, channels, mode, tmp_path):
    pictures = hold(kind, files, channels, tmp_path / "root")
    for held in (pictures, pickle.loads(pickle.dumps(pictures))):
        for split, of_split in files.items():
            for number, (path, _) in enumerate(of_split):
                picture, opened = held.of(split)[number], open_image(path, mode)
                assert (picture.mode, picture.size) == (mode, opened.size)
                assert picture.tobytes() == opened.tobytes()


def test_on_disk_the_files_are_opened_once(files, tmp_path, monkeypatch):
    hold("disk", files, 3, tmp_path / "root").of("train")
    monkeypatch.setattr(folder_pictures, "open_image", None)
    assert hold("disk", files, 3, tmp_path / "root").of("val")[1].size == (6, 9)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (
            "memory",
            "data: 73 images in their own sizes take 12.7 KB of memory, in each process that trains or evaluates",
        ),
        ("disk", "data: 73 images in their own sizes take 13.8 KB of disk, in {root}/key"),
    ],
)
def test_what_they_take_is_said_before(files, kind, said, tmp_path, caplog):
    remark.cache_clear()
    with caplog.at_level(logging.WARNING):
        hold(kind, files, 3, tmp_path / "root")
    assert caplog.messages == [said.format(root=tmp_path / "root")]


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_one_that_is_broken_is_named(files, kind, tmp_path):
    broken = files["val"][1][0]
    broken.write_bytes(broken.read_bytes()[:70])
    with pytest.raises(ValueError, match=r"val.01\.png: not a readable image"):
        hold(kind, files, 3, tmp_path / "root").of("val")
    assert not (tmp_path / "root" / "key").exists()
