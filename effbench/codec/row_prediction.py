"""What a row is expected to hold, from the rows before it: the classes of a classifier resemble each other.

Each value is predicted as a weighted sum of the values above it in the same column, with weights that are learned along
the row by normalised least mean squares (Widrow and Hoff 1960; the normalisation: Nagumo and Noda 1967), in integers
alone, so that writer and reader agree on every machine. Import it where it is needed, as `kernels`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from effbench.codec.arithmetic import Words
from effbench.compression.jit import inlined

ONE = 16
"""A prediction is a whole number of sixteenths."""
N_TAPS = 1024
"""Rows before that are looked at, at most: what a value may cost is bounded by it."""
N_STEPS = 4096
_TAP_BITS = 20

Steps = NDArray[np.int64]
History = NDArray[np.int16]

STEPS = np.array([6 * 2**24 * 60 // (60 * 10 + column) for column in range(N_STEPS)], np.int64)
"""How far the weights move at a column, of 2**24: 0.6 at first, less and less along the row."""


@inlined
def expected(taps: Words, past: History, n_rows: int) -> int:
    """Return the prediction of a value from those above it, (n_rows,), in sixteenths, within +-4095."""
    total = 0
    for k in range(n_rows):
        total += int(taps[k]) * int(past[k])
    return min(max(total >> 16, -4095), 4095)


@inlined
def learn(taps: Words, past: History, n_rows: int, error: int, energy: int, column: int) -> None:
    """Move the weights so that the prediction errs less; `energy` is the sum of squares of all above it."""
    gain = error * STEPS[min(column, N_STEPS - 1)] // (energy + 16)
    for k in range(n_rows):
        taps[k] += (gain * int(past[k]) + 128) >> 8
