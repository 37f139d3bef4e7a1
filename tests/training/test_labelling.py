"""The labels that a teacher gives: one for each training example, by its number."""

import pytest
import torch
from torch import nn

from effbench.training import labelling
from effbench.training.labelling import label_examples

CPU = torch.device("cpu")


def test_they_are_the_outputs_by_the_examples_numbers_whatever_the_batches(toy_data, toy_network, monkeypatch):
    network = toy_network().eval()
    images, _ = next(toy_data.batches("train", side=8, batch_size=1000))
    with torch.no_grad():
        expected = network(images)
    for size in (1000, 50, 7):
        monkeypatch.setattr(labelling, "BATCH_SIZE", size)
        found = label_examples(network, toy_data, side=8, device=CPU)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_teacher_sees_the_images_without_augmentation_and_is_in_evaluation_mode(make_toy_data, toy_network):
    network = toy_network().train()
    plain, augmented = (
        label_examples(network, make_toy_data(augment=augment), side=8, device=CPU) for augment in ("none", "crop_flip")
    )
    assert torch.equal(plain, augmented)
    assert not network.training


def test_a_teacher_may_see_another_side(toy_data):
    network = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4, 4))
    small, large = (label_examples(network, toy_data, side=side, device=CPU) for side in (6, 8))
    assert small.shape == large.shape == (203, 4)
    assert not torch.equal(small, large)


def test_maps_of_classes_are_labelled_pixel_by_pixel(toy_data):
    network = nn.Conv2d(1, 4, 3, padding=1)
    assert label_examples(network, toy_data, side=8, device=CPU).shape == (203, 4, 8, 8)


@pytest.mark.parametrize(("n_classes", "shown"), [(7, r"\(7,\)"), (3, r"\(3,\)")])
def test_a_teacher_of_other_classes_is_refused(toy_data, n_classes, shown):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, n_classes))
    with pytest.raises(
        ValueError, match=f"^the teacher's outputs are {shown}, the data have 4 classes; give a teacher"
    ):
        label_examples(network, toy_data, side=8, device=CPU)
