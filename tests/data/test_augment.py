"""The affine augmentation: what it may do to a picture, and what not."""

import pytest
import torch

from effbench.data.augment import augmented, turn_and_stretch


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def blob(n, *, x, y, side=28):
    """Images with a soft spot at (x, y), in pixels from the middle."""
    steps = torch.arange(side) - (side - 1) / 2
    spot = torch.exp(-((steps - x)[None, :] ** 2 + (steps - y)[:, None] ** 2) / 4)
    return spot.expand(n, 1, side, side)


def centres(images):
    """Where the mass of each image is, (n, 2), in pixels from the middle."""
    steps = torch.arange(images.shape[-1]) - (images.shape[-1] - 1) / 2
    mass = images.sum((1, 2, 3))
    return torch.stack([(images.sum((1, 2)) @ steps) / mass, (images.sum((1, 3)) @ steps) / mass], dim=1)


def test_the_middle_moves_by_no_more_than_the_shift_and_in_every_direction():
    moved = centres(turn_and_stretch(blob(500, x=0, y=0), generator()))
    assert moved.abs().max() <= 1.2 * 1.08 * 1.28, "shifted first, then turned, sheared and stretched"
    assert torch.all(moved.min(0).values < -0.8) and torch.all(moved.max(0).values > 0.8)
    assert moved.mean(0).abs().max() < 0.15


@pytest.mark.parametrize(("x", "y"), [(8, 0), (0, 8), (-8, 0), (0, -8)])
def test_the_rim_turns_by_about_ten_degrees_and_is_never_mirrored(x, y):
    moved = centres(turn_and_stretch(blob(500, x=x, y=y), generator(1)))
    distance = (moved - torch.tensor([x, y])).norm(dim=1)
    assert distance.max() < 8 * (0.175 + 0.09 + 0.1) + 1.7
    assert 1 < distance.mean() < 2.5
    along, across = (0, 1) if x else (1, 0)
    assert (moved[:, along] * (x or y) > 0).all()
    assert moved[:, across].std() > 0.7


def test_pixels_stay_in_their_range_and_nothing_comes_in_from_outside():
    images = torch.full((50, 3, 16, 16), 255, dtype=torch.uint8)
    changed = turn_and_stretch(images, generator())
    assert changed.dtype == torch.float32 and changed.shape == images.shape
    assert changed.min() >= 0 and changed.max() <= 255.01
    assert changed[:, :, 0, 0].min() == 0
    assert turn_and_stretch(torch.zeros_like(images), generator()).abs().max() == 0


def test_a_generator_decides_and_channels_move_together():
    images = blob(20, x=2, y=3).expand(20, 3, 28, 28)
    first, again, second = (augmented(images, "affine", generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, second)
    torch.testing.assert_close(first[:, 0], first[:, 2])
    assert torch.equal(augmented(images, "none", generator()), images)
