"""Trellis-coded quantisation: two grids of twice the step, and a machine that says which one each value is on.

The first grid has the even multiples of a step, the second the odd ones and zero; four states, of which two take each
grid, follow from the parities of the codes before (Marcellin and Fischer 1990; with an entropy coder Joshi, Crump and
Fischer 1995; the machine is that of VVC's dependent quantisation, Schwarz et al. 2019, and of ISO/IEC 15938-17). A code
costs what one of twice the step does, and errors are those of a finer grid: up to one decibel less at equal bits.

The machine runs down the columns of a weight, (n_rows, n_columns), from state 0 on. On the first grid a code k stands
for 2k steps, on the second for 2k - sign(k). Import it where it is needed: it is compiled by numba.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from effbench.compression.jit import compiled

N_STATES = 4
NEXT = np.array([[0, 2], [2, 0], [1, 3], [3, 1]], np.int32)
"""By state and parity of the code; states 2 and 3 are those of the second grid."""

Matrix = NDArray[np.int64]
Integers = NDArray[np.int64]
Values = NDArray[np.float64]
Marks = NDArray[np.bool_]


@compiled
def codes_of(multiples: Matrix, /) -> tuple[Matrix, bool]:
    """Return the codes of multiples of the step, and whether the machine allows all of them."""
    codes, fits = np.zeros_like(multiples), True
    states = np.zeros(multiples.shape[1], np.int64)
    for row in range(multiples.shape[0]):
        for column in range(multiples.shape[1]):
            second = states[column] >> 1
            multiple = multiples[row, column]
            sign = int(multiple > 0) - int(multiple < 0)
            doubled = multiple + sign * second
            fits = fits and doubled & 1 == 0
            codes[row, column] = doubled >> 1
            states[column] = NEXT[states[column], codes[row, column] & 1]
    return codes, fits


@compiled
def multiples_of(codes: Matrix, /) -> Matrix:
    """Return which multiples of the step codes stand for."""
    multiples = np.zeros_like(codes)
    states = np.zeros(codes.shape[1], np.int64)
    for row in range(codes.shape[0]):
        for column in range(codes.shape[1]):
            second = states[column] >> 1
            code = codes[row, column]
            multiples[row, column] = 2 * code - (int(code > 0) - int(code < 0)) * second
            states[column] = NEXT[states[column], code & 1]
    return multiples


@compiled
def best_multiples(values: Values, held: Marks, costs: Values, multiples: Integers, /) -> None:
    """Put the multiples of least squared error + cost that the machine allows into `multiples`, (n,).

    values: (n,), in steps, down a column. held: (n,), which have to be zero. costs: (2, n_sizes), of a code's magnitude
    on each grid, in squares of the step; larger ones cost as the last. Found by dynamic programming over the four
    states (Viterbi 1967).
    """
    n, most = len(values), costs.shape[1] - 1
    paid, next_paid = np.full(N_STATES, np.inf), np.zeros(N_STATES)
    paid[0] = 0.0
    came_from, taken = np.zeros((n, N_STATES), np.int8), np.zeros((n, N_STATES), np.int64)
    for i in range(n):
        next_paid[:] = np.inf
        size = abs(values[i])
        for second in range(2):
            low = int(np.floor((size + second) / 2))
            for choice in range(2 if held[i] else 0, 3):
                # The two nearest, on either side, and zero.
                code = 0 if choice == 2 else low + choice
                error = size - (2 * code - (second if code > 0 else 0))
                cost = error * error + costs[second, min(code, most)]
                for state in range(2 * second, 2 * second + 2):
                    to = NEXT[state, code & 1]
                    if paid[state] + cost < next_paid[to]:
                        next_paid[to] = paid[state] + cost
                        came_from[i, to], taken[i, to] = state, code
        paid[:] = next_paid
    state = int(np.argmin(paid))
    for i in range(n - 1, -1, -1):
        code, state_before = taken[i, state], came_from[i, state]
        multiple = 2 * code - ((state_before >> 1) if code > 0 else 0)
        multiples[i] = multiple if values[i] >= 0 else -multiple
        state = state_before
