"""One level of the orthonormal Haar transform: an image as its coarse half and the details that it lacks."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Bands = Literal["none", "both", "low"]


def haar(images: Tensor, /) -> Tensor:
    """Split images (N, C, H, W) into four bands (N, 4·C, ⌈H/2⌉, ⌈W/2⌉).

    Of each block a b / c d of 2 × 2 pixels, the average band has (a + b + c + d) / 2, then come the differences of its
    columns (a - b + c - d) / 2, of its rows (a + b - c - d) / 2, and of both (a - b - c + d) / 2: C channels each
    (Haar 1910; Mallat 1989, "A theory for multiresolution signal decomposition"). An odd last row or column is
    repeated first. The transform is orthonormal: of even sides the sum of squares stays.

    >>> haar(torch.tensor([[[[1.0, 1.0], [3.0, 3.0]]]])).flatten().tolist()
    [4.0, 0.0, -2.0, 0.0]
    """
    top, bottom = _halved_rows(_even(images))
    total, change = _sum_and_difference(top + bottom)
    of_rows, of_both = _sum_and_difference(top - bottom)
    return torch.cat([total, change, of_rows, of_both], dim=1)


def inverse_haar(bands: Tensor, side: tuple[int, int] | None = None, /) -> Tensor:
    """Return the images (N, C, H, W) of bands (N, 4·C, h, w); without `side` (H, W) they have even sides 2·h, 2·w.

    >>> images = torch.rand(2, 3, 5, 8)
    >>> bool((inverse_haar(haar(images), (5, 8)) - images).abs().max() < 1e-6)
    True
    """
    if bands.shape[1] % 4:
        raise ValueError(f"bands must have four times the channels of an image, got {bands.shape[1]} channels")
    total, change, of_rows, of_both = bands.chunk(4, dim=1)
    halves = [(_columns(a + b, change + c)) for a, b, c in ((total, of_rows, of_both), (total, -of_rows, -of_both))]
    images = torch.stack(halves, dim=3).flatten(2, 3)
    return images if side is None else images[..., : side[0], : side[1]]


class HaarBands(nn.Module):
    """Splits images (N, C, H, W): "both" into all four bands, (N, 4·C, ⌈H/2⌉, ⌈W/2⌉); "low" into the average alone."""

    def __init__(self, bands: str) -> None:
        super().__init__()
        self.bands = bands

    def forward(self, images: Tensor) -> Tensor:
        """Return the bands."""
        if self.bands == "both":
            return haar(images)
        top, bottom = _halved_rows(_even(images))
        rows = top + bottom
        return (rows[..., 0::2] + rows[..., 1::2]) / 2

    def extra_repr(self) -> str:
        """Name the bands."""
        return self.bands


def split_input(bands: str, in_channels: int, input_side: int, /) -> tuple[int, int]:
    """Return the channels and the side of what a network takes in. ValueError for bands that there are not.

    >>> split_input("both", 3, 33), split_input("low", 3, 32), split_input("none", 1, 28)
    ((12, 17), (3, 16), (1, 28))
    """
    if bands not in get_args(Bands):
        raise ValueError(
            f"bands must be {', '.join(get_args(Bands))} (of the Haar transform at half the side), got {bands!r}"
        )
    if bands == "none":
        return in_channels, input_side
    return in_channels * (4 if bands == "both" else 1), (input_side + 1) // 2


def splitting(bands: str, /) -> dict[str, nn.Module]:
    """Return the layer, by its name, that stands before a network which takes bands; none for "none"."""
    return {} if bands == "none" else {"bands": HaarBands(bands)}


def _even(images: Tensor) -> Tensor:
    """Repeat an odd last row or column."""
    height, width = images.shape[-2] % 2, images.shape[-1] % 2
    return F.pad(images, (0, width, 0, height), mode="replicate") if height or width else images


def _halved_rows(images: Tensor) -> tuple[Tensor, Tensor]:
    return images[..., 0::2, :], images[..., 1::2, :]


def _sum_and_difference(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return half the sum, and half the difference, of neighbouring columns."""
    left, right = rows[..., 0::2], rows[..., 1::2]
    return (left + right) / 2, (left - right) / 2


def _columns(sums: Tensor, differences: Tensor) -> Tensor:
    """Return the columns (…, 2·w) of which these are the sums and differences."""
    return torch.stack([sums + differences, sums - differences], dim=-1).flatten(-2) / 2
