"""Augmentation: what a shuffled pass does to its images."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Augmentation = Literal["none", "crop_flip", "affine"]

MAX_ANGLE = math.radians(10)
MAX_SCALE = 0.08
MAX_SHEAR = 0.1
MAX_SHIFT = 1.2 / 28
"""Of the side, either way."""


def augmented(batch: Tensor, kind: Augmentation, generator: torch.Generator, /) -> Tensor:
    """Return a batch, (n, channels, side, side), augmented as `kind` says; float32 after `affine`."""
    if kind == "crop_flip":
        return shift_and_mirror(batch, generator)
    return turn_and_stretch(batch, generator) if kind == "affine" else batch


def shift_and_mirror(batch: Tensor, generator: torch.Generator, /) -> Tensor:
    """Shift each image by up to an eighth of its side (zeros come in), mirror every second one on average."""
    n_images, _, side, _ = batch.shape
    reach = max(1, side // 8)
    padded = F.pad(batch, [reach] * 4)
    top, left = torch.randint(0, 2 * reach + 1, (2, n_images), generator=generator)
    mirrored = torch.rand(n_images, generator=generator) < 0.5
    steps = torch.arange(side)
    rows = top[:, None] + steps
    columns = left[:, None] + torch.where(mirrored[:, None], steps.flip(0), steps)
    picked = padded[torch.arange(n_images)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)


def turn_and_stretch(batch: Tensor, generator: torch.Generator, /) -> Tensor:
    """Turn, scale, shear and shift each image a little; zeros come in. For what has a top and no mirror image: digits.

    Each amount is drawn evenly, either way: up to 10 degrees, 8 % in size, a shear of 0.1 and, before those, a shift of
    1.2 pixels of 28.
    """
    angle, scale, shear, right, down = 2 * torch.rand(5, len(batch), generator=generator) - 1
    angle, size = angle * MAX_ANGLE, 1 + scale * MAX_SCALE
    cosine, sine, shear = angle.cos() / size, angle.sin() / size, shear * MAX_SHEAR
    # Coordinates run from -1 to 1: a side is 2 long.
    rows = [
        torch.stack([cosine, shear * cosine - sine, 2 * MAX_SHIFT * right], dim=1),
        torch.stack([sine, shear * sine + cosine, 2 * MAX_SHIFT * down], dim=1),
    ]
    places = F.affine_grid(torch.stack(rows, dim=1), list(batch.shape), align_corners=False)
    return F.grid_sample(batch.float(), places, padding_mode="zeros", align_corners=False)
