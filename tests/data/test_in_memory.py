import dataclasses

import numpy as np
import pytest
import torch

from effbench.data.base import subset
from effbench.data.in_memory import InMemoryData


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def whole(data, split="train", **options):
    """All images and labels of one pass."""
    options = {"side": data.images[split].shape[2], "batch_size": 32, **options}
    images, labels = zip(*data.batches(split, **options), strict=True)
    return torch.cat(images), torch.cat(labels)


def as_rows(images, labels):
    """The pairs of image and label, sorted."""
    return sorted((*image.flatten().tolist(), int(label)) for image, label in zip(images, labels, strict=True))


@pytest.mark.parametrize("batch_size", [1, 7, 61, 1000])
def test_without_a_generator_each_example_comes_once_in_its_order(toy_data, batch_size):
    images, labels = whole(toy_data, "val", batch_size=batch_size)
    assert torch.equal(labels, toy_data.labels["val"])
    assert torch.allclose(images * 0.25 + 0.3, toy_data.images["val"] / 255, atol=1e-6)


def test_normalised_by_mean_and_deviation_per_channel():
    images = torch.randint(0, 256, (500, 3, 4, 4), dtype=torch.uint8, generator=generator())
    pixels = images.float() / 255
    mean, std = tuple(pixels.mean((0, 2, 3)).tolist()), tuple(pixels.std((0, 2, 3)).tolist())
    splits = ("train", "val", "test")
    data = InMemoryData(
        name="noise",
        n_classes=1,
        images=dict.fromkeys(splits, images),
        labels=dict.fromkeys(splits, torch.zeros(500, dtype=torch.int64)),
        mean=mean,
        std=std,
        side=4,
    )
    normalised, _ = whole(data)
    assert normalised.dtype == torch.float32
    assert torch.allclose(normalised.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(normalised.std((0, 2, 3)), torch.ones(3), atol=1e-5)


def test_shuffling_is_decided_by_the_generator_and_loses_nothing(toy_data):
    first, labels = whole(toy_data, generator=generator(1))
    again, _ = whole(toy_data, generator=generator(1))
    other, _ = whole(toy_data, generator=generator(2))
    plain, plain_labels = whole(toy_data)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, plain)
    # The same pairs of image and label, in another order.
    assert as_rows(first, labels) == as_rows(plain, plain_labels)


def test_the_next_epoch_of_a_generator_has_another_order(toy_data):
    shared = generator()
    first, second = whole(toy_data, generator=shared), whole(toy_data, generator=shared)
    assert not torch.equal(first[0], second[0])


def test_a_fraction_is_spread_over_the_split_and_the_same_for_every_generator(toy_data):
    chosen = [
        sorted(whole(toy_data, fraction=0.5, generator=generator(seed))[0].sum((1, 2, 3)).tolist()) for seed in (0, 1)
    ]
    assert len(chosen[0]) == round(0.5 * 203)
    assert chosen[0] == pytest.approx(chosen[1], abs=1e-3)
    assert 30 < (subset(203, 0.5) < 101).sum() < 72


@pytest.mark.parametrize("side", [1, 4, 16])
def test_another_side_shows_the_same_picture(toy_data, side):
    images, labels = whole(toy_data, "test", side=side)
    plain, plain_labels = whole(toy_data, "test")
    assert images.shape == (62, 1, side, side)
    assert torch.equal(labels, plain_labels)
    assert torch.allclose(images.mean((1, 2, 3)), plain.mean((1, 2, 3)), atol=0.1)


def test_making_images_smaller_averages_and_does_not_skip_pixels(make_toy_data):
    checkerboard = (torch.arange(16)[:, None] + torch.arange(16)).remainder(2).mul(255).to(torch.uint8)
    images = {split: checkerboard.expand(4, 1, 16, 16) for split in ("train", "val", "test")}
    labels = {split: torch.arange(4) for split in images}
    data = make_toy_data(images=images, labels=labels, mean=(0.0,), std=(1.0,), side=16)
    small, _ = whole(data, side=8)
    assert (small - 0.5).abs().max() < 0.05


def test_augmentation_shifts_and_mirrors_but_keeps_label_and_shape(make_toy_data):
    # A single bright pixel right of the middle: where it went tells how the image was moved.
    images = torch.zeros(400, 1, 16, 16, dtype=torch.uint8)
    images[:, 0, 8, 11] = 255
    labels = torch.arange(400).remainder(4)
    splits = ("train", "val", "test")
    data = make_toy_data(
        images=dict.fromkeys(splits, images),
        labels=dict.fromkeys(splits, labels),
        mean=(0.0,),
        std=(1.0,),
        side=16,
        augment="crop_flip",
    )
    moved, moved_labels = whole(data, generator=generator())
    assert moved.shape == images.shape
    assert torch.equal(moved_labels.sort().values, labels.sort().values)
    assert torch.equal(moved.sum((1, 2, 3)), torch.ones(400))
    _, _, rows, columns = moved.nonzero(as_tuple=True)
    reach = 16 // 8
    assert set(rows.tolist()) == set(range(8 - reach, 8 + reach + 1))
    # Unmirrored it is at 11 ± reach, mirrored at 15 - 11 ± reach: the two do not overlap.
    assert set(columns.tolist()) == {c + d for c in (11, 4) for d in range(-reach, reach + 1)}
    assert 150 < (columns < 8).sum() < 250
    again, _ = whole(data, generator=generator())
    assert torch.equal(moved, again)


def test_augmentation_is_for_shuffled_batches_only(make_toy_data):
    plain, augmented = make_toy_data(), make_toy_data(augment="crop_flip")
    assert torch.equal(whole(plain)[0], whole(augmented)[0])
    assert not torch.equal(whole(plain, generator=generator())[0], whole(augmented, generator=generator())[0])


@pytest.fixture(params=[torch.uint8, torch.int64], ids=["uint8", "int64"])
def maps_data(request, make_toy_data):
    """A data set with a class for each pixel: of its brightness."""
    images = make_toy_data().images
    return make_toy_data(
        labels={split: part[:, 0].div(64, rounding_mode="floor").to(request.param) for split, part in images.items()}
    )


class TestMapsOfClasses:
    @pytest.mark.parametrize("side", [8, 4, 16])
    def test_come_whole_at_every_side(self, maps_data, side):
        images, maps = whole(maps_data, "val", side=side)
        assert images.shape == (61, 1, side, side)
        assert maps.dtype == torch.int64
        assert torch.equal(maps, maps_data.labels["val"].long())

    def test_stay_with_their_images_when_shuffled(self, maps_data):
        images, maps = whole(maps_data, generator=generator())
        pixels = (255 * (images[:, 0] * 0.25 + 0.3)).round().long()
        assert torch.equal(pixels.div(64, rounding_mode="floor"), maps)
        assert not torch.equal(maps, maps_data.labels["train"].long())

    def test_decide_the_fingerprint(self, maps_data):
        before = maps_data.fingerprint
        labels = {split: maps.clone() for split, maps in maps_data.labels.items()}
        labels["test"][-1, -1, -1] ^= 1
        assert dataclasses.replace(maps_data, labels=labels).fingerprint != before

    def test_are_not_augmented(self, maps_data):
        with pytest.raises(ValueError, match=r"^data\.augment=crop_flip: must be none where each pixel has a class$"):
            maps_data.augmented_by("crop_flip")

    @pytest.mark.parametrize(
        "change", [lambda maps: maps[:, :4], lambda maps: maps.float(), lambda maps: maps[:, None]]
    )
    def test_of_another_shape_or_type_are_refused(self, maps_data, change):
        labels = {**maps_data.labels, "val": change(maps_data.labels["val"])}
        with pytest.raises(ValueError, match=r"^val labels must be int64 \(61,\), or uint8 or int64 \(61, 8, 8\)"):
            dataclasses.replace(maps_data, labels=labels)

    def test_of_other_classes_are_refused(self, maps_data):
        with pytest.raises(ValueError, match=r"labels must be in 0\.\.2"):
            dataclasses.replace(maps_data, n_classes=3)


class TestFingerprint:
    def test_is_the_same_for_the_same_data_under_any_name_and_after_use(self, make_toy_data):
        used = make_toy_data()
        whole(used, side=4)
        whole(used, generator=generator())
        assert used.fingerprint == make_toy_data().fingerprint == make_toy_data(name="other").fingerprint

    @pytest.mark.parametrize("split", ["train", "val", "test"])
    @pytest.mark.parametrize("position", [0, -1])
    def test_changes_with_any_pixel_and_label(self, make_toy_data, split, position):
        plain, pixel, label = make_toy_data(), make_toy_data(), make_toy_data()
        pixel.images[split].view(-1)[position] ^= 1
        label.labels[split][position] = (label.labels[split][position] + 1) % 4
        assert len({data.fingerprint for data in (plain, pixel, label)}) == 3

    def test_changes_when_an_example_changes_its_split(self, make_toy_data):
        data = make_toy_data()
        both = {
            name: torch.cat([part["train"], part["val"]])
            for name, part in (("images", data.images), ("labels", data.labels))
        }
        moved = {
            name: {"train": part[:202], "val": part[202:], "test": getattr(data, name)["test"]}
            for name, part in both.items()
        }
        assert make_toy_data(**moved).fingerprint != data.fingerprint

    @pytest.mark.parametrize(
        "change", [{"augment": "crop_flip"}, {"side": 4}, {"mean": (0.31,)}, {"std": (0.26,)}, {"n_classes": 5}]
    )
    def test_changes_with_what_is_done_to_the_images(self, make_toy_data, change):
        assert make_toy_data(**change).fingerprint != make_toy_data().fingerprint


class TestRefusals:
    def test_channels_without_their_mean(self, make_toy_data):
        with pytest.raises(ValueError, match="must be 1 each, one per channel"):
            make_toy_data(mean=(0.1, 0.2, 0.3))

    def test_float_images(self, make_toy_data):
        images = {split: part.float() for split, part in make_toy_data().images.items()}
        with pytest.raises(ValueError, match="train images must be uint8"):
            make_toy_data(images=images)

    def test_a_label_out_of_range(self, make_toy_data):
        with pytest.raises(ValueError, match=r"labels must be in 0\.\.2"):
            make_toy_data(n_classes=3)

    def test_labels_of_another_number(self, make_toy_data):
        data = make_toy_data()
        with pytest.raises(ValueError, match="val has 61 images but 60 labels"):
            make_toy_data(labels={**data.labels, "val": data.labels["val"][:60]})

    @pytest.mark.parametrize("change", [{"side": 0}, {"augment": "resized_crop"}])
    def test_values_out_of_range(self, make_toy_data, change):
        with pytest.raises(ValueError, match=r"data\.{}={}".format(*next(iter(change.items())))):
            make_toy_data(**change)


def test_global_random_state_is_left_alone(make_toy_data):
    data = make_toy_data(augment="crop_flip")
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    whole(data, generator=generator())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
