"""What is known of a value before it is coded: the sizes of its neighbours, of its row, of its column.

The arrays are those of `context_models`; `at` is the place of the value in its row, `across` how far before it the line
above it is, `plane` how far the plane before. Import it where it is needed, as `kernels`.
"""

from __future__ import annotations

import numpy as np

from effbench.codec.arithmetic import Ints, Words
from effbench.compression.jit import inlined

N_FLAG_SLOTS, N_SIGN_SLOTS = 1792, 102
N_FLAG_SETS, N_SIGN_SETS = 42, 25
PRIOR = 6
"""As many values as this have the mean of all, before a row or a column has any of its own."""
INVERSE_BITS, N_INVERSE = 20, 1 << 14

# What is known of the values before: how many they are, the sum of their magnitudes, its mean in sixteenths; the sum in
# the row, how many of the plane are not zero; where in the plane the next one is, and in which.
N_SEEN, SUM, MEAN, ROW_SUM, N_IN_PLANE, PLACE, PLANE = range(7)
N_KNOWN = 7

Lines = tuple[Words, Words, Words]
"""The row of the next value and the two before it, with room at both ends."""
Levels = tuple[int, int, int, int, int]
"""Of the row, of row and column, of the neighbours, of what is expected, of how often the column is not zero."""


def _fine_level(number: int) -> int:
    """Return a number in thirds of octaves from 4 on: 0, 1, 2, 3, 4-5, 6, 7, 8-10, ... are 0, 1, 2, ... <= 31."""
    return number if number < 4 else min((number**3).bit_length() - 3, 31)


def _level(number: int) -> int:
    """Return a number in halves of octaves: 0, 1, 2, 3, 4-5, 6-7, 8-11, 12-15, ... are 0, 1, 2, ... <= 15."""
    return number if number < 3 else min((number**2).bit_length() - 1, 15)


_FINE_LEVELS = np.array([_fine_level(number) for number in range(4096)], np.int32)
_LEVELS = np.array([_level(number) for number in range(1024)], np.int32)


@inlined
def fine_level(number: int) -> int:
    """Return the level of a number, three an octave: 0..31."""
    return int(_FINE_LEVELS[min(number, 4095)])


@inlined
def level(number: int) -> int:
    """Return the level of a number, two an octave: 0..15."""
    return int(_LEVELS[min(number, 1023)])


@inlined
def is_seen(line: Words, at: int) -> int:
    """Return 1 where the value is not zero."""
    return int(line[at] != 0)


@inlined
def sign_of(line: Words, at: int) -> int:
    """Return 0 for zero, 1 for less, 2 for more."""
    return int(line[at] < 0) + 2 * int(line[at] > 0)  # no branches: a processor can't guess signs


@inlined
def sizes_around(here: Words, above: Words, at: int, across: int, plane: int) -> int:
    """Return the level of the magnitudes next to a value: left, the line above, the plane and the row before."""
    total = 2 * (abs(int(here[at - 1])) + abs(int(here[at - across]))) + abs(int(here[at - 2]))
    total += abs(int(here[at - across + 1])) + abs(int(here[at - plane])) + abs(int(above[at]))
    return level(total)


@inlined
def means(known: Ints, sums: Ints, column: int, row: int, inverse: Ints, plane: int) -> tuple[int, int]:
    """Return how large the row's values have been, and that times how large the column's (of a kernel the plane's).

    In sixteenths; the second in relation to the mean of all.
    """
    start = known[MEAN] * PRIOR
    of_row = (known[ROW_SUM] * 16 + start) * inverse[min(column, N_INVERSE - 1)] >> INVERSE_BITS
    n_beside = row * plane + (known[PLACE] if plane > 1 else 0)
    beside = (sums[known[PLANE]] * 16 + start) // (n_beside + PRIOR)
    return of_row, of_row * beside // max(known[MEAN], 1)


@inlined
def choose_for_flag(lines: Lines, at: int, across: int, plane: int, known: Ints, levels: Levels, chosen: Words) -> int:
    """Choose the slots for whether a value is zero. Return which mixer: by the four beside it and the one above."""
    here, above, before = lines
    left, up, north = is_seen(here, at - 1), is_seen(here, at - across), is_seen(above, at)
    left2, up2 = is_seen(here, at - 2), is_seen(here, at - 2 * across)
    up_left, up_right = is_seen(here, at - across - 1), is_seen(here, at - across + 1)
    in_row = left | left2 << 1 | up << 2 | up_left << 3 | up_right << 4 | up2 << 5
    in_row |= is_seen(here, at - plane) << 6 | is_seen(here, at - 2 * plane) << 7
    west, east = is_seen(above, at - 1), is_seen(above, at + 1)
    in_rows = north | west << 1 | east << 2 | is_seen(above, at - across) << 3 | is_seen(above, at + across) << 4
    in_rows |= is_seen(before, at) << 5 | left << 6 | up << 7
    n_near = left + up + up_left + up_right
    n_around = n_near + left2 + up2 + is_seen(here, at - across - 2) + is_seen(here, at - across + 2)
    n_around += is_seen(here, at - 2 * across - 1) + is_seen(here, at - 2 * across + 1)
    of_row, of_both, around, of_expected, of_column = levels
    chosen[0] = of_expected << 5 | of_row
    chosen[1] = 512 + in_row
    chosen[2] = 768 + in_rows
    chosen[3] = 1024 + (of_column << 2 | min(n_near, 3))
    chosen[4] = 1088 + (min(known[N_IN_PLANE], 3) << 5 | min(known[PLACE], 31))
    chosen[5] = 1216 + (n_around << 2 | north + west + east)
    chosen[6] = 1280 + (of_both << 4 | around)
    return n_near + 5 * north


@inlined
def choose_for_sign(
    lines: Lines, at: int, across: int, plane: int, of_expected: int, expects_less: int, chosen: Words
) -> int:
    """Choose the slots for the sign of a value. Return what the signs to the left and above are, 0..8."""
    here, above, before = lines
    left, up = sign_of(here, at - 1), sign_of(here, at - across)
    total = 2 * (int(here[at - 1]) + int(here[at - across])) + int(here[at - 2])
    total += int(here[at - across - 1]) + int(here[at - across + 1])
    strength = min(level(abs(total)), 6)
    chosen[0] = left * 9 + up * 3 + sign_of(here, at - plane)
    chosen[1] = 27 + sign_of(above, at) * 9 + sign_of(before, at) * 3 + sign_of(above, at - across)
    chosen[2] = 54 + (7 + strength if total < 0 else 7 - strength)
    chosen[3] = 70 + of_expected * 2 + expects_less
    return left + 3 * up
