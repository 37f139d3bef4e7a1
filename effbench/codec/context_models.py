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
from effbench.compression.jit import compiled

# Where the coder is, and what it knows of the row and the plane; the distance of the line above.
ROW, COLUMN, LENGTH, ACROSS, PLANE = range(5)
N_IN_ROW, N_IN_PLANE, LAST, LAST_BUT_ONE = range(4)

N_FLAG, N_SIGN, N_MAGNITUDE = 10, 6, 5
_N_FLAG_FIXED = 961 + 48

Model = tuple[Ints, Ints, Ints, Ints, Ints]
"""Slots, weights of mixers, and scratch: the chosen slots, their logits, the chosen mixers."""
Models = tuple[Model, Model, Model]
"""For whether a value is zero, for its sign, for its magnitude."""


def fresh_models(n_rows: int, length: int, plane: int, largest: int, /) -> Models:
    """Return models that know nothing of a layer of that geometry, whose largest magnitude is `largest`."""
    n_nodes = 1 << max(largest - 1, 0).bit_length()
    n_flag_slots = _N_FLAG_FIXED + length + length // plane + 1 + n_rows
    return (
        _model(n_flag_slots, 26, N_FLAG),
        _model(97, 10, N_SIGN),
        _model(N_MAGNITUDE * 2 * n_nodes * 16, 17, N_MAGNITUDE),
    )


def _model(n_slots: int, n_sets: int, n_inputs: int) -> Model:
    chosen, logits, sets = (np.zeros(n, np.int64) for n in (n_inputs, n_inputs, 2))
    return arithmetic.fresh_slots(n_slots), arithmetic.fresh_weights(n_sets, n_inputs), chosen, logits, sets


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
    return int(values[i - offset]) if column >= offset else 0


@compiled
def above(values: Ints, i: int, column: int, length: int, shift: int) -> int:
    """Return the value `shift` places after the one above i, in the row before; 0 outside of it."""
    at = i - length + shift
    return int(values[at]) if at >= 0 and 0 <= column + shift < length else 0


@compiled
def sign_of(value: int) -> int:
    """Return 0 for zero, 1 for less, 2 for more."""
    return 0 if value == 0 else 1 if value < 0 else 2


@compiled
def row_pattern(values: Ints, i: int, place: Ints) -> int:
    """Return which of eight neighbours in the row are not zero: bits 0, 1 to the left, 2 to 5 up, 6, 7 the planes."""
    column, across, plane = place[COLUMN], place[ACROSS], place[PLANE]
    pattern = 0
    for bit, offset in enumerate((1, 2, across, across + 1, across - 1, 2 * across, plane, 2 * plane)):
        pattern |= int(near(values, i, column, offset) != 0) << bit
    return pattern


@compiled
def rows_pattern(values: Ints, i: int, place: Ints) -> int:
    """Return which of six neighbours in the rows before are not zero: bit 0 above, bits 1, 2 left and right of it."""
    column, length, across = place[COLUMN], place[LENGTH], place[ACROSS]
    pattern = 0
    for bit, shift in enumerate((0, -1, 1, -across, across)):
        pattern |= int(above(values, i, column, length, shift) != 0) << bit
    return pattern | int(above(values, i - length, column, length, 0) != 0) << 5


@compiled
def count_around(values: Ints, i: int, place: Ints) -> int:
    """Return how many of five neighbours in the row that `row_pattern` leaves out are not zero."""
    column, across = place[COLUMN], place[ACROSS]
    count = 0
    for offset in (3, across + 2, across - 2, 2 * across + 1, 2 * across - 1):
        count += int(offset > 3 and near(values, i, column, offset) != 0)
    return count


@compiled
def column_density(place: Ints, columns: Ints) -> int:
    """Return the level of the share of non-zero values in this and the neighbouring columns of the rows before."""
    column, length, across = place[COLUMN], place[LENGTH], place[ACROSS]
    count = 4 * columns[column, 0]
    for shift in (1, -1, across, -across):
        at = column + shift
        count += 2 * columns[at, 0] if 0 <= at < length else 2 * columns[column, 0]
    return level(count * 16 // (12 * place[ROW] + 12))


@compiled
def flag_contexts(values: Ints, i: int, place: Ints, known: Ints, columns: Ints, chosen: Ints, sets: Ints) -> None:
    """Choose the slots and mixers for "is the value at i zero". See `code_values` for the arrays."""
    row, column, length, plane = place[ROW], place[COLUMN], place[LENGTH], place[PLANE]
    in_row, in_rows = row_pattern(values, i, place), rows_pattern(values, i, place)
    n_near = (in_row & 1) + (in_row >> 2 & 1) + (in_row >> 3 & 1) + (in_row >> 4 & 1)
    n_above = (in_rows & 1) + (in_rows >> 1 & 1) + (in_rows >> 2 & 1)
    n_around = n_near + (in_row >> 1 & 1) + (in_row >> 5 & 1) + count_around(values, i, place)
    of_column = column_density(place, columns)
    of_row = level(known[N_IN_ROW] * 256 // (column + 8))
    chosen[0] = 0
    chosen[1] = 1 + in_row
    chosen[2] = 257 + (in_rows | (in_row & 1) << 6 | (in_row >> 2 & 1) << 7)
    chosen[3] = 513 + (of_column << 2 | min(n_near, 3))
    chosen[4] = 577 + (min(known[N_IN_PLANE], 3) << 5 | min(column % plane, 31))
    chosen[5] = 705 + (of_row << 4 | of_column)
    chosen[6] = 961 + (n_around << 2 | n_above)
    chosen[7] = _N_FLAG_FIXED + column
    chosen[8] = _N_FLAG_FIXED + length + column // plane
    chosen[9] = _N_FLAG_FIXED + length + length // plane + 1 + row
    sets[0] = n_near + 5 * (in_rows & 1)
    sets[1] = 10 + of_column


@compiled
def sign_contexts(values: Ints, i: int, place: Ints, known: Ints, columns: Ints, chosen: Ints, sets: Ints) -> None:
    """Choose the slots and mixers for the sign of the value at i."""
    column, length, across = place[COLUMN], place[LENGTH], place[ACROSS]
    west, west2 = near(values, i, column, 1), near(values, i, column, 2)
    up, before = near(values, i, column, across), near(values, i, column, place[PLANE])
    north, north2 = above(values, i, column, length, 0), above(values, i - length, column, length, 0)
    total = 2 * (west + up) + west2 + near(values, i, column, across + 1) + near(values, i, column, across - 1)
    strength = min(level(abs(total)), 6)
    chosen[0] = sign_of(west) * 9 + sign_of(up) * 3 + sign_of(before)
    chosen[1] = 27 + sign_of(north) * 9 + sign_of(north2) * 3 + sign_of(columns[column, 1])
    chosen[2] = 54 + (7 + strength if total < 0 else 7 - strength)
    chosen[3] = 70 + sign_of(known[LAST]) * 3 + sign_of(known[LAST_BUT_ONE])
    chosen[4] = 79 + min(max(columns[column, 2], -8), 8) + 8
    chosen[5] = 96
    sets[0] = sign_of(west) + 3 * sign_of(up)
    sets[1] = 9


@compiled
def magnitude_contexts(values: Ints, i: int, place: Ints, known: Ints, columns: Ints, context: Ints) -> None:
    """Say what is known of the magnitude at i: five levels, 0..15, the first of nothing."""
    column, length = place[COLUMN], place[LENGTH]
    west, up = abs(near(values, i, column, 1)), abs(near(values, i, column, place[ACROSS]))
    north, last, last_but_one = abs(above(values, i, column, length, 0)), abs(known[LAST]), abs(known[LAST_BUT_ONE])
    context[0] = 0
    context[1] = level(max(west, up))
    context[2] = level(last)
    context[3] = level(abs(columns[column, 1]))
    context[4] = level((west + up + north + last + last_but_one) // 2)


@compiled
def code_magnitude(
    data: Bytes, state: Ints, magnitude: int, largest: int, negative: int, context: Ints, model: Model
) -> int:
    """Write a magnitude, 1..largest, or read and return one, which may be too large: bit by bit, the highest first."""
    slots, weights, chosen, logits, sets = model
    n_nodes, n_bits = len(slots) // (N_MAGNITUDE * 2 * 16), 0
    while (largest - 1) >> n_bits > 0:  # where only 0 is possible it is below zero, and stays so however far it shifts
        n_bits += 1
    node = 1
    for k in range(n_bits - 1, -1, -1):
        for n in range(N_MAGNITUDE):
            chosen[n] = ((n * 2 + negative) * n_nodes + node) * 16 + context[n]
        sets[0], sets[1] = int(min(node, 15)), 16
        node = 2 * node + arithmetic.mix_bit(
            data, state, (magnitude - 1) >> k & 1, slots, chosen, weights, sets, logits
        )
    return node - (1 << n_bits) + 1


@compiled
def code_value(
    values: Ints,
    i: int,
    limits: Ints,
    data: Bytes,
    state: Ints,
    place: Ints,
    known: Ints,
    columns: Ints,
    models: Models,
) -> int:
    """Write the value at i, or read and return one, maybe beyond the limits."""
    value, (flags, signs, magnitudes) = values[i], models
    slots, weights, chosen, logits, sets = flags
    flag_contexts(values, i, place, known, columns, chosen, sets)
    if not arithmetic.mix_bit(data, state, int(value != 0), slots, chosen, weights, sets, logits):
        return 0
    negative = int(limits[0] < 0 and (limits[1] == 0 or value < 0))
    if limits[0] < 0 < limits[1]:
        slots, weights, chosen, logits, sets = signs
        sign_contexts(values, i, place, known, columns, chosen, sets)
        negative = arithmetic.mix_bit(data, state, negative, slots, chosen, weights, sets, logits)
    context = np.empty(N_MAGNITUDE, np.int64)
    magnitude_contexts(values, i, place, known, columns, context)
    largest = -limits[0] if negative else limits[1]
    magnitude = code_magnitude(data, state, abs(value), largest, negative, context, magnitudes)
    return -magnitude if negative else magnitude


@compiled
def code_values(
    values: Ints, geometry: Ints, limits: Ints, data: Bytes, position: int, end: int, decodes: bool, models: Models
) -> int:
    """Write `values` into `data[position:end]`, or fill them from it; return where the code ends, -1 where it fails.

    values: (n_rows * length,). geometry: (n_rows, length, width, plane). limits: the lowest (at most 0) and the highest
    (at least 0) value. It fails without room, without bytes, or on a value beyond the limits.
    Inside, columns is (length, 3): the number of non-zero values, the last, the positive less the negative ones.
    """
    n_rows, length, plane = geometry[0], geometry[1], geometry[3]
    across = geometry[2] if geometry[2] > 1 else 3
    place, known = np.array([0, 0, length, across, plane]), np.zeros(4, np.int64)
    columns = np.zeros((length, 3), np.int64)
    state = arithmetic.start(data, position, end, decodes)
    for i in range(n_rows * length):
        place[ROW], place[COLUMN] = i // length, i % length
        if place[COLUMN] == 0:
            known[:] = 0
        if place[COLUMN] % plane == 0:
            known[N_IN_PLANE] = 0
        value = code_value(values, i, limits, data, state, place, known, columns, models)
        if state[arithmetic.FAILED] or value < limits[0] or value > limits[1]:
            return -1
        values[i] = value
        if value != 0:
            column = columns[place[COLUMN]]
            column[0], column[1], column[2] = column[0] + 1, value, column[2] + (1 if value > 0 else -1)
            known[LAST_BUT_ONE], known[LAST] = known[LAST], value
            known[N_IN_ROW] += 1
            known[N_IN_PLANE] += 1
    return arithmetic.finish(data, state)
