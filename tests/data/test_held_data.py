"""A data set that is held anywhere gives the batches and the fingerprint of the one in memory, to the bit."""

import pickle

import pytest
import torch

from effbench.data import SPLITS
from effbench.data.held_data import HeldData
from effbench.data.held_images import InMemory, OnDisk, Streamed
from effbench.data.pool import augmented_by


class Reader:
    """Gives images by their numbers; it can be sent to another process."""

    def __init__(self, images):
        self.images = images

    def __call__(self, numbers):
        return self.images[numbers]


@pytest.fixture
def hold(tmp_path):
    """Return what holds an `InMemoryData`'s images in another way."""

    def hold(data, how):
        images = {s: Streamed(Reader(data.images[s]), tuple(data.images[s].shape), 0) for s in SPLITS}
        if how == "memory":
            images = {split: InMemory(data.images[split]) for split in SPLITS}
        elif how == "disk":
            images = OnDisk.planned(str(tmp_path), "key", images, "uint8")
        options = ("name", "n_classes", "channels", "side", "labels", "mean", "std", "augment")
        return HeldData(images=images, **{name: getattr(data, name) for name in options})

    return hold


def batches(data, side, seed, **options):
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return list(data.batches("train", side=side, batch_size=17, generator=generator, **options))


@pytest.mark.parametrize("how", ["memory", "disk", "none"])
@pytest.mark.parametrize("augment", ["none", "crop_flip", "affine"])
def test_batches_and_fingerprint_are_those_of_data_in_memory(make_toy_data, hold, how, augment):
    data = make_toy_data(augment=augment)
    held = hold(data, how)
    assert held.fingerprint == data.fingerprint
    for side in (8, 5, 13):
        for seed, options in ((None, {}), (1, {}), (1, {"augmented": False, "numbered": True, "fraction": 0.4})):
            theirs, ours = batches(data, side, seed, **options), batches(held, side, seed, **options)
            for one, other in zip(theirs, ours, strict=True):
                assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_the_fingerprint_knows_pixels_labels_and_what_is_done(make_toy_data, hold):
    data = make_toy_data()
    found = {hold(data, "none").fingerprint}
    for changes in ({"augment": "affine"}, {"side": 6}, {"mean": (0.2,)}, {"n_classes": 5}):
        found.add(hold(make_toy_data(**changes), "none").fingerprint)
    found.add(hold(make_toy_data(seed=1), "none").fingerprint)
    assert len(found) == 6
    assert hold(make_toy_data(name="other"), "memory").fingerprint in found


def test_floats_are_what_the_network_sees(make_toy_data):
    images = {split: InMemory(torch.randn(9, 2, 4, 4)) for split in SPLITS}
    labels = dict.fromkeys(SPLITS, torch.arange(9) % 3)
    data = HeldData(name="f", n_classes=3, channels=2, side=4, labels=labels, images=images, content="abc")
    batch, numbers = next(data.batches("val", side=4, batch_size=9, generator=torch.Generator(), numbered=True))
    assert torch.equal(batch, images["val"].images[numbers])
    assert pickle.loads(pickle.dumps(data)).fingerprint == data.fingerprint


def test_another_augmentation_and_what_is_refused(make_toy_data, hold):
    held = hold(make_toy_data(), "memory")
    assert augmented_by(held, "affine").augment == "affine"
    for options, named in (({"augment": "warp"}, "data.augment=warp"), ({"side": 0}, "data.side=0")):
        with pytest.raises(ValueError, match=named):
            hold(make_toy_data(), "memory").__class__(**{**held.__dict__, **options})
    maps = dict.fromkeys(SPLITS, torch.zeros(2, 4, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"data\.augment=affine: must be none where each pixel has a class"):
        HeldData(**{**held.__dict__, "labels": maps, "augment": "affine"})
