"""Maps in compiled loops: rows of many pixels, of float32, or of bfloat16 as its bits in uint16."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from effbench.jit import compiled

Values = NDArray[Any]
Vector = NDArray[np.float32]
Doubles = NDArray[np.float64]

COLUMNS = 512
"""About as many values are a row: a multiple of a register's, and a row's sums stay in the nearest cache."""


def read(value: Any) -> Any:
    """Return a value of a map as float32."""
    raise NotImplementedError("in compiled code only")


def written(value: Any, maps: Values) -> Any:
    """Return a float32 as `maps` holds it: rounded to the nearest, ties to even."""
    raise NotImplementedError("in compiled code only")


@overload(read)
def _read(value: Any) -> Any:
    def from_bfloat16(value: Any) -> Any:
        return np.uint32(np.uint32(value) << np.uint32(16)).view(np.float32)

    def as_it_is(value: Any) -> Any:
        return value

    return from_bfloat16 if value == types.uint16 else as_it_is


@overload(written)
def _written(value: Any, maps: Any) -> Any:
    def to_bfloat16(value: Any, maps: Any) -> Any:
        bits = np.float32(value).view(np.uint32)
        odd = (bits >> np.uint32(16)) & np.uint32(1)
        # A NaN stays one: those that come of bfloat16 maps have nothing in their low bits that could overflow.
        return np.uint16((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))

    def as_it_is(value: Any, maps: Any) -> Any:
        return np.float32(value)

    return to_bfloat16 if maps.dtype == types.uint16 else as_it_is


@compiled
def as_rows(x: Values) -> Values:
    """Return (N, H, W, C) as (R, K): a power of two of pixels a row."""
    n_maps, height, width, channels = x.shape
    n_pixels, a_row = n_maps * height * width, 1
    while n_pixels % (2 * a_row) == 0 and 2 * a_row * channels <= COLUMNS:
        a_row *= 2
    return x.reshape((n_pixels // a_row, a_row * channels))


@compiled
def tiled(vector: Doubles, n_columns: int) -> Vector:
    """Return the channels' values at each column of a row."""
    columns, channels = np.empty(n_columns, np.float32), len(vector)
    for pixel in range(0, n_columns, channels):
        for c in range(channels):
            columns[pixel + c] = vector[c]
    return columns


@compiled
def add_up(sums: Vector, by_channel: Doubles) -> None:
    """Add each channel's sum over its columns, and start the columns' sums anew."""
    channels = len(by_channel)
    for pixel in range(0, len(sums), channels):
        for c in range(channels):
            by_channel[c] += sums[pixel + c]
            sums[pixel + c] = 0
