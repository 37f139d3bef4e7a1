"""The loops of `fusion`, compiled by numba, one thread. Import it where a loop is needed.

Maps are channels-last: (N, H, W, C), or the same memory as rows of K columns, K being a multiple of C, so that a
register of the processor is full even where there are eight channels. Values are float32, or bfloat16 as its bits in
uint16; what is computed with is float32. Vectors are float32 and hold a channel's value at each of its columns.

z = scale · x + shift is the normalised value; what is at or below `floor` is cut off (0 for a ReLU, else -inf). NaN
goes through everything. The loops over columns have no branch, and read neighbours at one distance only, so that they
become vector code.
Everything is in one file, as numba would not notice that a function of another one has changed (`compression.jit`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from effbench.compression.jit import compiled

Values = NDArray[Any]
Vector = NDArray[np.float32]
Doubles = NDArray[np.float64]

COLUMNS = 512
"""About as many values are a row: a multiple of a register's, and a row's sums stay in the nearest cache."""
ROWS = 64
"""After so many rows the sums move from float32 to float64."""


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
        rounded = (bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)
        return np.uint16(rounded) if value == value else np.uint16(0x7FC0)

    def as_it_is(value: Any, maps: Any) -> Any:
        return np.float32(value)

    return to_bfloat16 if maps.dtype == types.uint16 else as_it_is


@compiled
def higher(first: Any, second: Any) -> Any:
    """Return the larger of two floats, NaN where one of them is."""
    return first if (first >= second) | (first != first) else second


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


@compiled
def moments(x: Values, pivot: Vector, channels: int) -> tuple[Doubles, Doubles]:
    """Return each channel's sum of x - pivot and of its square: (R, K) -> (C,), (C,)."""
    n_rows, n_columns = x.shape
    first, second = np.zeros(channels), np.zeros(channels)
    of_first, of_second = np.zeros(n_columns, np.float32), np.zeros(n_columns, np.float32)
    for begin in range(0, n_rows, ROWS):
        for row in range(begin, min(n_rows, begin + ROWS)):
            for k in range(n_columns):
                distance = read(x[row, k]) - pivot[k]
                of_first[k] += distance
                of_second[k] += distance * distance
        add_up(of_first, first)
        add_up(of_second, second)
    return first, second


@compiled
def normalise(x: Values, scale: Vector, shift: Vector, floor: np.float32, y: Values) -> None:
    """Write the normalised values into y: (R, K) -> (R, K)."""
    n_rows, n_columns = x.shape
    for row in range(n_rows):
        for k in range(n_columns):
            z = read(x[row, k]) * scale[k] + shift[k]
            y[row, k] = written(floor if z <= floor else z, y)


@compiled
def normalise_and_pool(x: Values, scale: Vector, shift: Vector, floor: np.float32, y: Values) -> None:
    """Write the largest of each 2 x 2 normalised values into y: (N, H, W, C) -> (N, H // 2, W // 2, C)."""
    n_maps, height, width, channels = x.shape
    n_columns = width * channels
    highest = np.empty(n_columns, np.float32)  # of two rows
    for n in range(n_maps):
        for i in range(height // 2):
            above, below = x[n, 2 * i].reshape(n_columns), x[n, 2 * i + 1].reshape(n_columns)
            for k in range(n_columns):
                upper, lower = read(above[k]) * scale[k] + shift[k], read(below[k]) * scale[k] + shift[k]
                z = higher(upper, lower)
                highest[k] = floor if z <= floor else z
            for j in range(width // 2):
                left, right = 2 * j * channels, (2 * j + 1) * channels
                for c in range(channels):
                    y[n, i, j, c] = written(higher(highest[left + c], highest[right + c]), y)


@compiled
def gate(
    x: Values, dy: Values, scale: Vector, shift: Vector, mean: Vector, floor: np.float32, dz: Values, channels: int
) -> tuple[Doubles, Doubles]:
    """Lead the gradient of `normalise` back to z. Returns each channel's sum of dz and of dz · (x - mean)."""
    n_rows, n_columns = x.shape
    first, second = np.zeros(channels), np.zeros(channels)
    nothing = np.zeros(1, dy.dtype)[0]
    of_first, of_second = np.zeros(n_columns, np.float32), np.zeros(n_columns, np.float32)
    for begin in range(0, n_rows, ROWS):
        for row in range(begin, min(n_rows, begin + ROWS)):
            for k in range(n_columns):
                value = read(x[row, k])
                passed = nothing if value * scale[k] + shift[k] <= floor else dy[row, k]
                dz[row, k] = passed
                gradient = read(passed)
                of_first[k] += gradient
                of_second[k] += gradient * (value - mean[k])
        add_up(of_first, first)
        add_up(of_second, second)
    return first, second


@compiled
def gate_and_unpool(
    x: Values, dy: Values, scale: Vector, shift: Vector, mean: Vector, floor: np.float32, dz: Values
) -> tuple[Doubles, Doubles]:
    """Lead the gradient of `normalise_and_pool` back to z: all of it to one of the largest. Returns as `gate`."""
    n_maps, height, width, channels = x.shape
    n_columns = width * channels
    first, second = np.zeros(channels), np.zeros(channels)
    of_first, of_second = np.zeros(n_columns, np.float32), np.zeros(n_columns, np.float32)
    with_ends = np.zeros(n_columns + 2 * channels, np.float32)
    highest = with_ends[channels : channels + n_columns]  # of two rows
    on_the_left, on_the_right = with_ends[:n_columns], with_ends[2 * channels :]  # the same, of the pixels beside
    spread = np.zeros(n_columns, dy.dtype)  # each pooled gradient, at both of its pixels; 0 in an odd last one
    nothing = spread[0]
    is_right = np.zeros(n_columns, np.bool_)
    for k in range(n_columns):
        is_right[k] = k // channels % 2 == 1
    for n in range(n_maps):
        for i in range(height // 2):
            above, below = x[n, 2 * i].reshape(n_columns), x[n, 2 * i + 1].reshape(n_columns)
            to_above, to_below = dz[n, 2 * i].reshape(n_columns), dz[n, 2 * i + 1].reshape(n_columns)
            for k in range(n_columns):
                upper, lower = read(above[k]) * scale[k] + shift[k], read(below[k]) * scale[k] + shift[k]
                highest[k] = upper if upper >= lower else lower
            for j in range(width // 2):
                left, right = 2 * j * channels, (2 * j + 1) * channels
                for c in range(channels):
                    spread[left + c] = dy[n, i, j, c]
                for c in range(channels):
                    spread[right + c] = dy[n, i, j, c]
            for k in range(n_columns):
                z = highest[k]
                wins = z > on_the_left[k] if is_right[k] else z >= on_the_right[k]
                passed = spread[k] if wins & (not z <= floor) else nothing
                x_upper, x_lower = read(above[k]), read(below[k])
                is_upper = x_upper * scale[k] + shift[k] >= x_lower * scale[k] + shift[k]
                to_above[k] = passed if is_upper else nothing
                to_below[k] = nothing if is_upper else passed
                gradient = read(passed)
                of_first[k] += gradient
                of_second[k] += gradient * ((x_upper if is_upper else x_lower) - mean[k])
        if height % 2:
            last = dz[n, height - 1].reshape(n_columns)
            for k in range(n_columns):
                last[k] = 0
        add_up(of_first, first)
        add_up(of_second, second)
    return first, second


@compiled
def combine(x: Values, dz: Values, of_dz: Vector, of_x: Vector, constant: Vector) -> None:
    """Make dz the gradient of x: of_dz · dz + of_x · x + constant, in place. (R, K)."""
    n_rows, n_columns = x.shape
    for row in range(n_rows):
        for k in range(n_columns):
            dz[row, k] = written(of_dz[k] * read(dz[row, k]) + of_x[k] * read(x[row, k]) + constant[k], dz)


@compiled
def apply(x: Values, normaliser: Doubles, floor: np.float32, pools: bool, y: Values) -> None:
    """Scale and shift (N, H, W, C) by the first two rows of `normaliser`, (., C), pool if `pools`, cut off, into y."""
    if pools:
        columns = x.shape[2] * x.shape[3]
        normalise_and_pool(x, tiled(normaliser[0], columns), tiled(normaliser[1], columns), floor, y)
    else:
        rows = as_rows(x)
        columns = rows.shape[1]
        normalise(rows, tiled(normaliser[0], columns), tiled(normaliser[1], columns), floor, y.reshape(rows.shape))


@compiled
def forward(
    x: Values,
    affine: tuple[Vector, Vector],
    running: tuple[Vector, Vector],
    momentum: float,
    eps: float,
    floor: np.float32,
    pools: bool,
    y: Values,
) -> Doubles:
    """Normalise (N, H, W, C), pool where `pools`, cut off, into y; move the running mean and variance.

    affine: weight and bias (C,). Returns (4, C), for `backward`: scale, shift, mean, inverse standard deviation.
    """
    n_maps, height, width, channels = x.shape
    n_pixels = n_maps * height * width
    rows = as_rows(x)
    # The sums of squares keep their digits where distances are small: they are taken from the mean of the first rows.
    pivot = moments(rows[:ROWS], np.zeros(rows.shape[1], np.float32), channels)[0]
    for c in range(channels):
        pivot[c] = np.float32(pivot[c] / (rows[:ROWS].size / channels))  # as the loops have it
    first, second = moments(rows, tiled(pivot, rows.shape[1]), channels)
    normaliser = np.empty((4, channels))
    for c in range(channels):
        distance = first[c] / n_pixels
        variance = max(second[c] / n_pixels - distance * distance, 0.0)
        mean, inverse = pivot[c] + distance, 1 / np.sqrt(variance + eps)
        scale = affine[0][c] * inverse
        normaliser[0, c], normaliser[1, c], normaliser[2, c], normaliser[3, c] = (
            scale,
            affine[1][c] - scale * mean,
            mean,
            inverse,
        )
        running[0][c] += momentum * (mean - running[0][c])
        running[1][c] += momentum * (variance * (n_pixels / (n_pixels - 1)) - running[1][c])
    apply(x, normaliser, floor, pools, y)
    return normaliser


@compiled
def backward(x: Values, dy: Values, normaliser: Doubles, floor: np.float32, pools: bool, dx: Values) -> Vector:
    """Write the gradient of x into dx, from that of what `forward` made of it. Returns (2, C): weight's and bias's."""
    n_maps, height, width, channels = x.shape
    n_pixels = n_maps * height * width
    rows = as_rows(x)
    columns = width * channels if pools else rows.shape[1]
    scale, shift, mean = tiled(normaliser[0], columns), tiled(normaliser[1], columns), tiled(normaliser[2], columns)
    if pools:
        sums = gate_and_unpool(x, dy, scale, shift, mean, floor, dx)
    else:
        sums = gate(rows, dy.reshape(rows.shape), scale, shift, mean, floor, dx.reshape(rows.shape), channels)
    gradients = np.empty((2, channels), np.float32)
    of_x, constant = np.empty(channels), np.empty(channels)
    for c in range(channels):
        of_weight, of_bias = sums[1][c] * normaliser[3, c], sums[0][c]
        gradients[0, c], gradients[1, c] = of_weight, of_bias
        of_x[c] = -normaliser[0, c] * normaliser[3, c] * of_weight / n_pixels
        constant[c] = -normaliser[0, c] * of_bias / n_pixels - of_x[c] * normaliser[2, c]
    columns = rows.shape[1]
    vectors = tiled(normaliser[0], columns), tiled(of_x, columns), tiled(constant, columns)
    combine(rows, dx.reshape(rows.shape), *vectors)
    return gradients


def load(dtype: type[np.generic]) -> None:
    """Get the machine code for training with maps of `dtype` and for evaluating with float32.

    It is compiled where no earlier process has done it, which takes a few seconds.
    """
    x, y, vector = np.zeros((2, 2, 2, 8), dtype), np.zeros((2, 1, 1, 8), dtype), np.zeros(8, np.float32)
    normaliser = forward(x, (vector, vector), (vector, vector), 0.1, 1e-5, np.float32(0), True, y)
    backward(x, y, normaliser, np.float32(0), True, np.zeros_like(x))
    apply(x.astype(np.float32), normaliser, np.float32(0), True, y.astype(np.float32))
