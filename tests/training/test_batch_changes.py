"""What training does to its batches: the order of the data is as without, and only seed, epoch and example decide."""

import pytest
import torch

from effbench.plan.components import TargetComponent
from effbench.training.batch_changes import BatchChanges
from effbench.training.options import TrainingOptions

ERASE = TargetComponent.read({"_target_": "torchvision.transforms.v2.RandomErasing", "p": 1.0})


def changes(data, seed=0, by_number=False, **options):
    return BatchChanges(TrainingOptions(epochs=1, lr=0.1, **options), data, 8, seed, by_number=by_number)


def batches(data, made, *, batch_size=50, order=0, epoch=0):
    generator = torch.Generator().manual_seed(order)
    plain = data.batches(
        "train",
        side=8,
        batch_size=batch_size,
        generator=generator,
        augmented=made.leaves_images,
        numbered=made.asks_for_numbers,
    )
    return [(images.clone(), targets) for images, targets in (plain if made.are_none else made.of(plain, epoch))]


def by_number(data, made, **how):
    """Return each example's image, whatever batch it came in."""
    found = batches(data, made, **how)
    images, numbers = torch.cat([images for images, _ in found]), torch.cat([numbers for _, numbers in found])
    return images[numbers.argsort()]


def test_an_image_is_the_same_in_any_batch_and_order(make_toy_data):
    data = make_toy_data(augment="crop_flip")
    made = changes(data, augmentation=ERASE, by_number=True)
    first = by_number(data, made)
    assert torch.equal(by_number(data, made, batch_size=7, order=5), first)
    assert not torch.equal(by_number(data, made, epoch=1), first)
    assert not torch.equal(by_number(data, changes(data, 1, augmentation=ERASE, by_number=True)), first)
    plain = by_number(make_toy_data(), changes(make_toy_data(), by_number=True))
    assert 0.3 < (first == plain).float().mean() < 0.98  # erased in places, not shifted as the data set would


def test_labels_come_with_their_images(toy_data):
    made = changes(toy_data, augmentation=ERASE)
    numbered = changes(toy_data, augmentation=ERASE, by_number=True)
    for (_, labels), (_, numbers) in zip(batches(toy_data, made), batches(toy_data, numbered), strict=True):
        assert torch.equal(labels, toy_data.labels["train"][numbers])
        assert torch.equal(numbered.labels_of(numbers), labels)


def test_mixed_ones_have_probabilities_whose_larger_share_is_the_label(toy_data):
    made = changes(toy_data, mixup=0.1)
    for (_, soft), (_, labels) in zip(batches(toy_data, made), batches(toy_data, changes(toy_data)), strict=True):
        assert soft.shape == (len(labels), 4)
        assert soft.sum(1) == pytest.approx(torch.ones(len(labels)))
        own_share = soft.gather(1, labels[:, None])[:, 0]
        assert torch.equal(made.labels_of(soft) == labels, own_share > 0.5)


def test_without_options_nothing_is_done(toy_data):
    made = changes(toy_data)
    assert made.are_none and made.leaves_images and not made.asks_for_numbers
