"""Images without labels beside labelled ones: they are in no pass but that of a lesson without true labels."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image

from effbench.data.image_folder import image_folder
from effbench.data.paths import remark
from effbench.data.unlabelled import NO_LABEL, PartlyLabelled, with_unlabelled


def save(path, shade):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), shade, np.uint8)).save(path)


@pytest.fixture
def root(tmp_path):
    """Return a folder with splits of two classes, and three images that have no label."""
    for split in ("train", "val", "test"):
        for label, name in enumerate(("dark", "light")):
            for number in range(4):
                save(tmp_path / "data" / split / name / f"{number}.png", 100 * label + number)
    for number in range(3):
        save(tmp_path / "data" / "unlabelled" / "deeper" / f"{number}.png", 200 + number)
    return tmp_path / "data"


def data(root, **options):
    return image_folder(root=str(root), side=8, augment="none", workers=0, **{"unlabelled": "unlabelled", **options})


def test_labelled_passes_are_what_they_were(root):
    with_them, without = data(root), data(root, unlabelled=None, resize_once=False)
    assert isinstance(with_them, PartlyLabelled)
    for split in ("train", "val", "test"):
        assert with_them.n_examples(split) == without.n_examples(split) == 8
        (ours, targets), (theirs, expected) = (
            next(iter(one.batches(split, side=8, batch_size=8))) for one in (with_them, without)
        )
        assert torch.equal(ours, theirs) and torch.equal(targets, expected)
    assert (with_them.classes, with_them.n_classes) == (("dark", "light"), 2)


def test_whole_they_come_last_and_have_no_label(root):
    whole = with_unlabelled(data(root))
    assert whole.n_examples("train") == 11 and whole.n_examples("val") == 8
    assert whole.labels["train"].tolist()[8:] == [NO_LABEL] * 3
    batches = list(whole.batches("train", side=8, batch_size=4, numbered=True))
    assert torch.cat([numbers for _, numbers in batches]).tolist() == list(range(11))
    shuffled = whole.batches("train", side=8, batch_size=11, generator=torch.Generator().manual_seed(0), numbered=True)
    assert sorted(next(iter(shuffled))[1].tolist()) == list(range(11))


def test_they_count_in_the_fingerprint(root, tmp_path):
    prints = {data(root).fingerprint, data(root, unlabelled=None).fingerprint, with_unlabelled(data(root)).fingerprint}
    save(root / "unlabelled" / "deeper" / "1.png", 99)
    prints.add(data(root).fingerprint)
    assert len(prints) == 4
    save(tmp_path / "elsewhere" / "a.png", 7)
    assert data(root, unlabelled=str(tmp_path / "elsewhere")).whole().n_examples("train") == 9


def test_data_without_any_are_as_they_are(toy_data):
    assert with_unlabelled(toy_data) is toy_data


def test_how_many_there_are_is_said(root, caplog):
    caplog.set_level(logging.WARNING)
    remark.cache_clear()
    data(root)
    assert "3 images of unlabelled have no labels: they train at distill=1 alone" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unlabelled": "nowhere"}, "data.unlabelled=nowhere: there is no such folder"),
        ({"unlabelled": "empty"}, "data.unlabelled=empty: holds no images"),
        ({"unlabelled": "train"}, "data.unlabelled=train: its images are labelled ones of the data"),
        ({"resize_once": True}, "data.resize_once=true: images without labels"),
    ],
)
def test_what_can_not_be_had(root, options, message):
    (root / "empty").mkdir()
    with pytest.raises(ValueError, match=message):
        data(root, **options)
