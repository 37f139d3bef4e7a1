import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from effbench.data import SPLITS
from effbench.data.scenes import draw_scenes, scenes

SIZES = {"n_train": 120, "n_val": 60, "n_test": 60}


@pytest.fixture(scope="module")
def data():
    return scenes(**SIZES)


def squares(n_classes=10):
    """Stand-ins for digits: a square of ink in the middle, one for each class, larger for higher classes."""
    digits = np.zeros((n_classes, 28, 28), dtype=np.uint8)
    for label in range(n_classes):
        digits[label, 9 - label // 2 : 19 + label // 2, 9:19] = 255
    return digits, np.arange(n_classes)


def test_scenes_and_their_maps_have_the_promised_shapes(data):
    for split in SPLITS:
        n = SIZES[f"n_{split}"]
        assert (data.images[split].shape, data.images[split].dtype) == ((n, 1, 64, 64), torch.uint8)
        assert (data.labels[split].shape, data.labels[split].dtype) == ((n, 64, 64), torch.uint8)
    assert (data.n_classes, data.channels, data.side) == (11, 1, 64)


def test_the_normalisation_fits(data):
    images = torch.cat([images for images, _ in data.batches("train", side=64, batch_size=50)])
    assert images.mean().item() == pytest.approx(0, abs=0.05)
    assert images.std().item() == pytest.approx(1, abs=0.05)


def test_every_class_is_common_and_the_background_is_commonest(data):
    shares = torch.bincount(data.labels["train"].flatten(), minlength=11) / data.labels["train"].numel()
    assert 0.8 < shares[0] < 0.95
    assert (shares[1:] > 0.003).all()


def test_a_digit_is_brighter_than_what_is_around_it_and_clutter_has_no_class(data):
    images, maps = data.images["train"][:, 0], data.labels["train"]
    assert images[maps > 0].float().mean() > 2 * images[maps == 0].float().mean()
    assert ((images > 150) & (maps == 0)).sum() > 20 * len(images)


def test_handwriting_of_a_split_comes_from_that_split_of_the_digits(monkeypatch):
    from effbench.data import scenes as module

    drawn = {}

    def remember(digits, classes, n_scenes, n_digits, /, *, rng):
        drawn[len(drawn)] = {digit.tobytes() for digit in digits}
        return draw_scenes(digits, classes, n_scenes, n_digits, rng=rng)

    monkeypatch.setattr(module, "draw_scenes", remember)
    scenes(n_train=1, n_val=1, n_test=1)
    assert [len(drawn[split]) for split in range(3)] == [3000, 1000, 1000]
    assert not (drawn[0] & drawn[1] or drawn[0] & drawn[2] or drawn[1] & drawn[2])


def test_splits_and_seeds_have_scenes_of_their_own(data):
    seen = [{scene.numpy().tobytes() for scene in data.images[split]} for split in SPLITS]
    assert len(set.union(*seen)) == 240
    assert scenes(**SIZES).fingerprint == data.fingerprint
    assert scenes(**SIZES, split_seed=1).fingerprint != data.fingerprint


def test_it_is_the_same_on_every_machine():
    # All is drawn in whole numbers; a change of these scenes changes the keys of runs.
    assert scenes(n_train=20, n_val=5, n_test=5).fingerprint == "5a9dee2f00fae040"


@pytest.mark.parametrize("n_digits", [(1, 1), (3, 3), (2, 5)])
def test_a_scene_has_as_many_digits_as_asked(n_digits):
    digits, _ = squares()
    classes = np.arange(10)
    _, maps = draw_scenes(digits, classes, 200, n_digits, rng=np.random.default_rng(0))
    n_present = np.array([len(np.unique(scene)) - 1 for scene in maps])  # two alike in a scene are one class
    assert 1 <= n_present.min() <= n_present.max() <= n_digits[1]
    drawn = np.mean(n_digits)
    assert n_present.mean() == pytest.approx(10 * (1 - 0.9**drawn), abs=0.3)


def test_the_map_lies_on_the_ink():
    digits, classes = squares()
    images, maps = draw_scenes(digits, classes, 100, (1, 1), rng=np.random.default_rng(0))
    for image, scene in zip(images.astype(int), maps, strict=True):
        inked = image[scene > 0]
        assert np.median(inked) > 140
        # 10 pixels wide, 0.8 to 1.25 times as large, stretched by 0.15 at most.
        columns = np.flatnonzero((scene > 0).any(0))
        assert 10 * 0.8 * 0.85 - 1 <= len(columns) <= 10 * 1.25 * 1.15 + 1


@given(st.integers(0, 50))
def test_the_generator_decides_a_scene(seed):
    digits, classes = squares(3)
    first, again = (draw_scenes(digits, classes, 3, (1, 4), rng=np.random.default_rng(seed)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert first[0].dtype == first[1].dtype == np.uint8
    assert first[1].max() <= 3


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"n_digits": (0, 3)}, r"n_digits=\[0, 3\]: must be the fewest and the most, from 1 to 9"),
        ({"n_digits": (4, 3)}, r"n_digits=\[4, 3\]"),
        ({"n_digits": (2, 10)}, r"n_digits=\[2, 10\]"),
        ({"n_digits": (3,)}, r"n_digits=\[3\]"),
        ({"n_val": 0}, "n_val=0: must be 1 or more"),
        ({"side": 0}, "side=0: must be 1 or more"),
    ],
)
def test_values_out_of_range(options, named):
    with pytest.raises(ValueError, match=rf"data\.{named}"):
        scenes(**{"n_train": 2, "n_val": 2, "n_test": 2, **options})
