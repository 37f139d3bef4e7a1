"""Transforms of single training images: on pixels, one draw each, by seed, epoch and example alone."""

import random
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.transforms import v2

from effbench.data.scenes import scenes
from effbench.plan.components import TargetComponent
from effbench.training.augmentation import Augmentation

V2 = "torchvision.transforms.v2."


def component(*parts):
    nodes = [{"_target_": V2 + name, **options} for name, options in parts]
    return TargetComponent.read({"_target_": f"{V2}Compose", "transforms": nodes})


def batch(data, n=6):
    numbers = torch.arange(n)
    images, labels = next(data.batches("train", side=data.side, batch_size=n))
    return images, labels, numbers


class Record(nn.Module):
    """Notes what it gets, and draws a value from each generator for it."""

    seen: ClassVar[list[torch.Tensor]] = []

    def forward(self, image):
        type(self).seen.append(image.clone())
        return image + torch.rand(()) + random.random() + np.random.rand()


class OnlyBytes(nn.Module):
    def forward(self, image):
        assert image.dtype == torch.uint8
        return image


@pytest.fixture
def own(monkeypatch):
    """Name a class of this module as a user's."""
    import sys
    from types import SimpleNamespace

    kinds = {"Record": Record, "OnlyBytes": OnlyBytes}
    monkeypatch.setitem(sys.modules, "users_transforms", SimpleNamespace(**kinds))
    return lambda name: TargetComponent(f"users_transforms.{name}", {})


TRANSFORMS = [
    ("RandomHorizontalFlip", {}),
    ("RandomCrop", {"padding": 2}),
    ("RandomResizedCrop", {"scale": [0.5, 1.0]}),
    ("RandomAffine", {"degrees": 20, "interpolation": "bilinear"}),
    ("ColorJitter", {"brightness": 0.4, "contrast": 0.4}),
    ("RandomErasing", {"p": 0.7}),
    ("GaussianBlur", {"kernel_size": 3}),
    ("GaussianNoise", {}),
    ("ElasticTransform", {"sigma": 1.0}),
    ("TrivialAugmentWide", {}),
    ("RandAugment", {}),
    ("AutoAugment", {"policy": "cifar10"}),
    ("AugMix", {}),
    ("JPEG", {"quality": [20, 60]}),
]


@pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")
@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda transform: transform[0])
def test_torchvisions_act_on_each_image_alone(transform, toy_data):
    images, labels, numbers = batch(toy_data)
    augment = Augmentation(component(transform), toy_data, 8, base=3)
    state = torch.get_rng_state()
    whole, kept = augment(images, labels, numbers, 1)
    assert torch.equal(torch.get_rng_state(), state)
    assert kept is labels and whole.shape == images.shape and whole.dtype == torch.float32
    backwards, _ = augment(images.flip(0), labels.flip(0), numbers.flip(0), 1)
    assert torch.equal(backwards.flip(0), whole)
    if transform[0] not in ("RandomHorizontalFlip",):
        assert not torch.equal(augment(images, labels, numbers, 2)[0], whole)
    same = images[:1].expand(6, -1, -1, -1)
    assert len({tuple(image.flatten().tolist()) for image in augment(same, labels, numbers, 1)[0]}) > 1


def test_they_see_pixels_and_give_back_normalised_images(toy_data, own):
    images, labels, numbers = batch(toy_data)
    Record.seen.clear()
    augment = Augmentation(own("Record"), toy_data, 8)
    Record.seen.clear()
    augment(images, labels, numbers, 0)
    pixels = toy_data.images["train"][:6].float() / 255
    torch.testing.assert_close(torch.stack(Record.seen), pixels)
    unchanged, _ = Augmentation(component(("RandomHorizontalFlip", {"p": 0.0})), toy_data, 8)(
        images, labels, numbers, 0
    )
    torch.testing.assert_close(unchanged, images)
    assert Augmentation(own("OnlyBytes"), toy_data, 8).form == "uint8"


def test_pythons_and_numpys_numbers_are_decided_too_and_left_as_they_were(toy_data, own):
    images, labels, numbers = batch(toy_data)
    augment = Augmentation(own("Record"), toy_data, 8)
    random.seed(1)
    before = random.getstate()
    first = augment(images, labels, numbers, 0)[0]
    assert random.getstate() == before
    random.seed(2)
    np.random.seed(2)
    assert torch.equal(augment(images, labels, numbers, 0)[0], first)


@pytest.mark.extended
def test_maps_of_classes_go_with_their_images():
    data = scenes()
    images, labels, numbers = batch(data, 4)
    flipped, maps = Augmentation(component(("RandomHorizontalFlip", {"p": 1.0})), data, data.side)(
        images, labels, numbers, 0
    )
    torch.testing.assert_close(flipped, images.flip(3))
    assert torch.equal(maps, labels.flip(2)) and maps.dtype == torch.int64
    coloured, maps = Augmentation(component(("ColorJitter", {"brightness": 0.5})), data, data.side)(
        images, labels, numbers, 0
    )
    assert torch.equal(maps, labels) and not torch.equal(coloured, images)


def test_without_mean_and_deviation_images_are_taken_as_they_are(toy_data, own):
    from effbench.data.base import ImageData

    class Plain(ImageData):
        fingerprint = "plain"

        def _batches(self, wanted):
            return toy_data._batches(wanted)

    data = Plain(name="plain", n_classes=4, channels=1, side=8, labels=toy_data.labels)
    images, labels, numbers = batch(data)
    augment = Augmentation(own("Record"), data, 8)
    Record.seen.clear()
    augment(images, labels, numbers, 0)
    assert torch.equal(torch.stack(Record.seen), images)


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (("RandomCrop", {"size": 5}), "must give images of shape (1, 8, 8), but gives (1, 5, 5)"),
        (("Grayscale", {"num_output_channels": 3}), "must give images of shape (1, 8, 8), but gives (3, 8, 8)"),
        (("Normalize", {"mean": [0.5], "std": [0.5]}), "leave Normalize out"),
        (("MixUp", {"num_classes": 4}), "MixUp blends a whole batch: give train.mixup=1.0 instead"),
        (("CutMix", {"num_classes": 4}), "CutMix blends a whole batch: give train.cutmix=1.0 instead"),
        (("ToPILImage", {}), "must give an image as a tensor, but gives a Image"),
        (("ColorJitter", {"brightness": -1.0}), "brightness"),
        (("RandomRotation", {}), "degrees must be given"),
        (("RandomHorizontalFlip", {"q": 0.5}), "takes no option 'q'"),
    ],
)
def test_what_gives_other_images_is_refused(transform, message, toy_data):
    with pytest.raises(ValueError) as refusal:
        Augmentation(component(transform), toy_data, 8)
    assert str(refusal.value).startswith("augment: ")
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_the_size_is_that_of_training(toy_data):
    augment = Augmentation(component(("RandomResizedCrop", {})), toy_data, 6)
    images, labels = next(toy_data.batches("train", side=6, batch_size=3))
    assert augment(images, labels, torch.arange(3), 0)[0].shape == (3, 1, 6, 6)
    assert isinstance(augment._transform, v2.Compose)
