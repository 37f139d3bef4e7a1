"""What the context coder predicts from: for each value of a layer, its neighbours that both sides know already.

A layer is rows of `length` values (a row makes one output), a row is planes of `plane` values (a channel, a kernel), a
plane is lines of `width`. Values are signed and their commonest is 0: a value is coded as whether it is 0, its sign,
and the bits of its magnitude from the highest down (arXiv:1907.11900 has unary magnitudes), each bit mixed from what
was seen in several contexts. Import it where it is needed, as `kernels`: it is compiled by numba.
"""

from __future__ import annotations

import numpy as np

from effbench.codec import arithmetic
from effbench.codec.arithmetic import Bytes, Ints
from effbench.codec.kernels import compiled

N_FLAG, N_SIGN, N_MAGNITUDE = 9, 6, 5

Models = tuple[tuple[Ints, Ints, Ints], tuple[Ints, Ints, Ints]]


def fresh_models(n_rows: int, length: int, plane: int, /) -> Models:
    """Return slots and mixers for flags, signs and magnitudes of a layer of that geometry."""
    n_flag_slots = length + n_rows + length // plane + 1 + 256 + 256 + 64 + 128 + 256 + 48
    slots = tuple(arithmetic.fresh_slots(n) for n in (n_flag_slots, 97, 51200))
    mixers = ((26, N_FLAG), (10, N_SIGN), (17, N_MAGNITUDE))
    weights = tuple(arithmetic.fresh_weights(n_sets, n_inputs) for n_sets, n_inputs in mixers)
    return (slots[0], slots[1], slots[2]), (weights[0], weights[1], weights[2])


@compiled
def level(share: int) -> int:
    """Return a number as half its logarithm's steps: 0, 1, 2, 3, 4-5, 6-7, 8-11, 12-15, ... are 0, 1, 2, ... <= 15."""
    n_bits, rest = 0, share
    while rest > 1:
        rest >>= 1
        n_bits += 1
    if share <= 1:
        return share
    return min(2 * n_bits + ((share >> (n_bits - 1)) & 1), 15)


@compiled
def near(values: Ints, i: int, column: int, offset: int) -> int:
    """Return the value `offset` places before place i in the same row, 0 before the row's begin."""
    return values[i - offset] if column >= offset else np.int64(0)  # type: ignore[return-value]


@compiled
def above(values: Ints, i: int, column: int, length: int, shift: int) -> int:
    """Return the value `shift` places after the one above i, in the row before; 0 outside of it."""
    at = i - length + shift
    return values[at] if at >= 0 and 0 <= column + shift < length else np.int64(0)  # type: ignore[return-value]


@compiled
def sign_of(value: int) -> int:
    """Return 0 for zero, 1 for less, 2 for more."""
    return 0 if value == 0 else 1 if value < 0 else 2


@compiled
def flag_contexts(values: Ints, i: int, place: Ints, known: Ints, columns: Ints, chosen: Ints, sets: Ints) -> None:
    """Choose the slots and mixers for "is the value at i zero". See `code_values` for the arrays."""
    row, column, length, width, plane = place[0], place[1], place[2], place[3], place[4]
    across = width if width > 1 else 3
    west, west2 = near(values, i, column, 1) != 0, near(values, i, column, 2) != 0
    up, up_west = near(values, i, column, across) != 0, near(values, i, column, across + 1) != 0
    up_east, up2 = near(values, i, column, across - 1) != 0, near(values, i, column, 2 * across) != 0
    before, before2 = near(values, i, column, plane) != 0, near(values, i, column, 2 * plane) != 0
    north, north2 = above(values, i, column, length, 0) != 0, above(values, i - length, column, length, 0) != 0
    north_west, north_east = (
        above(values, i, column, length, -1) != 0,
        above(values, i, column, length, 1) != 0,
    )
    north_up, north_down = (
        above(values, i, column, length, -across) != 0,
        above(values, i, column, length, across) != 0,
    )
    wider = west + west2 + up + up_west + up_east + up2 + (near(values, i, column, 3) != 0)
    wider += (near(values, i, column, across + 2) != 0) + (near(values, i, column, 2 * across + 1) != 0)
    wider += (near(values, i, column, 2 * across - 1) != 0) + (across > 3 and near(values, i, column, across - 2) != 0)
    around = 4 * columns[column, 0]
    for shift in (1, -1, across, -across):
        at = column + shift
        around += 2 * columns[at, 0] if 0 <= at < length else 2 * columns[column, 0]
    column_level = level(around * 16 // (12 * row + 12))
    row_level = level(known[0] * 256 // (column + 8))
    in_row = west | west2 << 1 | up << 2 | up_west << 3 | up_east << 4 | up2 << 5 | before << 6 | before2 << 7
    in_rows = north | north2 << 1 | north_west << 2 | north_east << 3 | north_up << 4 | north_down << 5 | west << 6
    near_count = west + up + up_west + up_east
    base = np.int64(0)
    chosen[0] = base + column
    base += length
    chosen[1] = base + row
    base += place[5]
    chosen[2] = base + column // plane
    base += length // plane + 1
    chosen[3] = base + in_row
    base += 256
    chosen[4] = base + (in_rows | up << 7)
    base += 256
    chosen[5] = base + (column_level << 2 | min(near_count, 3))
    base += 64
    chosen[6] = base + (min(known[4], 3) << 5 | min(column % plane, 31))
    base += 128
    chosen[7] = base + (row_level << 4 | column_level)
    base += 256
    chosen[8] = base + (min(wider, 11) << 2 | min(north + north_west + north_east, 3))
    sets[0] = near_count + 5 * north
    sets[1] = 10 + column_level


@compiled
def sign_contexts(values: Ints, i: int, place: Ints, known: Ints, columns: Ints, chosen: Ints, sets: Ints) -> None:
    """Choose the slots and mixers for the sign of the value at i."""
    column, length, width, plane = place[1], place[2], place[3], place[4]
    across = width if width > 1 else 3
    west, west2 = near(values, i, column, 1), near(values, i, column, 2)
    up, before = near(values, i, column, across), near(values, i, column, plane)
    north, north2 = above(values, i, column, length, 0), above(values, i - length, column, length, 0)
    total = 2 * (west + up) + west2 + near(values, i, column, across + 1) + near(values, i, column, across - 1)
    strength = min(level(abs(total)), 6)
    chosen[0] = sign_of(west) * 9 + sign_of(up) * 3 + sign_of(before)
    chosen[1] = 27 + sign_of(north) * 9 + sign_of(north2) * 3 + sign_of(columns[column, 1])
    chosen[2] = 54 + (7 + strength if total < 0 else 7 - strength)
    chosen[3] = 70 + sign_of(known[1]) * 3 + sign_of(known[2])
    chosen[4] = 79 + min(max(columns[column, 2], -8), 8) + 8
    chosen[5] = 96
    sets[0] = sign_of(west) + 3 * sign_of(up)
    sets[1] = 9


@compiled
def magnitude_contexts(
    values: Ints, i: int, place: Ints, known: Ints, columns: Ints, node: int, chosen: Ints, sets: Ints
) -> None:
    """Choose the slots and mixers for a bit of the magnitude at i; `node` is the sign and the bits before, below 512."""
    column, length, width = place[1], place[2], place[3]
    across = width if width > 1 else 3
    west, up = abs(near(values, i, column, 1)), abs(near(values, i, column, across))
    north = abs(above(values, i, column, length, 0))
    chosen[0] = node * 20
    chosen[1] = 10240 + node * 20 + level(max(west, up))
    chosen[2] = 20480 + node * 20 + level(abs(known[1]))
    chosen[3] = 30720 + node * 20 + level(abs(columns[column, 1]))
    chosen[4] = 40960 + node * 20 + level((west + up + north + abs(known[1]) + abs(known[2])) // 2)
    sets[0] = min(node, 15)
    sets[1] = 16


@compiled
def code_values(
    values: Ints,
    geometry: Ints,
    limits: Ints,
    data: Bytes,
    position: int,
    end: int,
    decodes: bool,
    slots: tuple[Ints, Ints, Ints],
    weights: tuple[Ints, Ints, Ints],
) -> int:
    """Write `values` into `data[position:end]`, or fill them from it; return where the code ends, -1 where it fails.

    values: (n_rows * length,). geometry: (n_rows, length, width, plane). limits: the lowest (at most 0)
    and highest (at least 0) value. It fails without room, without bytes, or on a value beyond the limits.

    place: row, column, length, width, plane, slots for rows. known: of this row, the number of non-zero values, the
    last two of them; -; of this plane, the number. columns: (length, 3), the number of non-zero values, the last, and
    the positive less the negative ones.
    """
    n_rows, length, plane = geometry[0], geometry[1], geometry[3]
    place = np.array([0, 0, length, geometry[2], plane, n_rows])
    columns, known = np.zeros((length, 3), np.int64), np.zeros(5, np.int64)
    scratch = (np.zeros(N_FLAG, np.int64), np.zeros(N_SIGN, np.int64), np.zeros(N_MAGNITUDE, np.int64))
    logits = (np.zeros(N_FLAG, np.int64), np.zeros(N_SIGN, np.int64), np.zeros(N_MAGNITUDE, np.int64))
    sets = np.zeros(2, np.int64)
    state = arithmetic.start(data, position, end, decodes)
    i = 0
    for row in range(n_rows):
        place[0] = row
        known[:] = 0
        for column in range(length):
            place[1] = column
            if column % plane == 0:
                known[4] = 0
            value = values[i]
            flag_contexts(values, i, place, known, columns, scratch[0], sets)
            if arithmetic.mix_bit(data, state, value != 0, slots[0], scratch[0], weights[0], sets, logits[0]):
                negative = 1 if value < 0 else 0
                if limits[0] == 0 or limits[1] == 0:
                    negative = 1 if limits[0] < 0 else 0
                else:
                    sign_contexts(values, i, place, known, columns, scratch[1], sets)
                    negative = arithmetic.mix_bit(
                        data, state, negative, slots[1], scratch[1], weights[1], sets, logits[1]
                    )
                largest = -limits[0] if negative else limits[1]
                n_bits = 0
                while largest - 1 >> n_bits:
                    n_bits += 1
                node, rest = np.int64(1), abs(value) - 1
                for k in range(n_bits - 1, -1, -1):
                    magnitude_contexts(values, i, place, known, columns, node + 256 * negative, scratch[2], sets)
                    node = 2 * node + arithmetic.mix_bit(
                        data, state, rest >> k & 1, slots[2], scratch[2], weights[2], sets, logits[2]
                    )
                magnitude = node - (1 << n_bits) + 1
                if magnitude > largest:
                    return -1  # type: ignore[return-value]
                value = -magnitude if negative else magnitude
                columns[column, 0] += 1
                columns[column, 1] = value
                columns[column, 2] += -1 if negative else 1
                known[2], known[1] = known[1], value
                known[0] += 1
                known[4] += 1
            else:
                value = 0
            values[i] = value
            i += 1
        if state[arithmetic.FAILED]:
            return -1  # type: ignore[return-value]
    return arithmetic.finish(data, state)
