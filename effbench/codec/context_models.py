"""What the context coder predicts from: for each value of a layer, its neighbours that both sides know already.

A layer is rows of `length` values (a row makes one output), a row is planes of `plane` values (a channel, a kernel), a
plane is lines of `width`. Values are signed and their commonest is 0: a value is coded as whether it is 0, its sign,
and the bits of its magnitude from the highest down (arXiv:1907.11900 has unary magnitudes), each bit mixed from what
was seen in several contexts: how large the values of its row and of its column have been, the neighbours, and what
`row_prediction` expects. Import it where it is needed, as `kernels`: it is compiled by numba.

Few contexts are mixed: of a dozen more, none was worth 0.02 % on the layers of MobileNetV2.
"""

from __future__ import annotations

import numpy as np

from effbench.codec import arithmetic, contexts, row_prediction
from effbench.codec.arithmetic import Bytes, Ints, Slots, Words
from effbench.codec.contexts import Levels, Lines
from effbench.compression.jit import allocation_free, inlined
from effbench.compression.trellis import NEXT

N_FLAG, N_SIGN, N_MAGNITUDE = 7, 4, 4
_N_NODE_SLOTS, _N_MAGNITUDE_SETS = 128, 48
_REFRESHED = 63
"""The mean of all is taken anew where these bits of the column's number are zero."""

Model = tuple[Slots, Words]
"""Slots, and the weights of mixers."""
Models = tuple[Model, Model, Model]
"""For whether a value is zero, for its sign, for its magnitude."""
Columns = tuple[Ints, Ints, Ints, row_prediction.History]
"""Of the rows so far: the sum of magnitudes of each plane, (length / plane,); how many values of each column are not
zero, and their sum of squares, (length,); the values by column, (length, n_rows), where rows predict each other."""
Scratch = tuple[Words, Words]
"""The chosen slots and their logits, (N_FLAG,)."""


def _fresh_models(largest: int, n_grids: int, /) -> Models:
    """Return models that know nothing of a layer whose largest magnitude is `largest`."""
    n_nodes = n_grids << max(largest - 1, 0).bit_length()
    return (
        (
            arithmetic.fresh_slots(n_grids * contexts.N_FLAG_SLOTS),
            arithmetic.fresh_weights(n_grids * contexts.N_FLAG_SETS, N_FLAG),
        ),
        (arithmetic.fresh_slots(contexts.N_SIGN_SLOTS), arithmetic.fresh_weights(contexts.N_SIGN_SETS, N_SIGN)),
        (
            arithmetic.fresh_slots(2 * n_nodes * _N_NODE_SLOTS),
            arithmetic.fresh_weights(_N_MAGNITUDE_SETS, N_MAGNITUDE),
        ),
    )


@inlined
def code_value(
    value: int,
    limits: Ints,
    data: Bytes,
    state: Ints,
    lines: Lines,
    place: tuple[int, int, int, int, int],
    known: Ints,
    levels: Levels,
    models: Models,
    scratch: Scratch,
) -> int:
    """Write a value, or read and return one, maybe beyond the limits.

    limits: the lowest and the highest value, the bits of their magnitudes less one. place: where in its row it is, how
    far away the line above is, and the plane before; 1 where something below zero is expected; 1 on a second grid.
    """
    at, across, plane, expects_less, second = place
    of_row, of_both, around, of_expected, of_column = levels
    chosen, logits = scratch
    slots, weights = models[0]
    n_near = contexts.choose_for_flag(lines, at, across, plane, known, levels, chosen)
    other = 10 + (16 + of_expected if of_expected > 0 else of_column)
    if second:
        n_near += contexts.N_FLAG_SETS
        other += contexts.N_FLAG_SETS
        for i in range(N_FLAG):
            chosen[i] += contexts.N_FLAG_SLOTS
    is_more = 1 if value != 0 else 0
    if not arithmetic.mix_bit(data, state, is_more, slots, chosen, N_FLAG, weights, n_near, other, logits):
        return 0
    negative = 1 if limits[0] < 0 and (limits[1] == 0 or value < 0) else 0
    if limits[0] < 0 < limits[1]:
        slots, weights = models[1]
        beside = contexts.choose_for_sign(lines, at, across, plane, of_expected, expects_less, chosen)
        other = 9 + of_expected
        negative = arithmetic.mix_bit(data, state, negative, slots, chosen, N_SIGN, weights, beside, other, logits)
    slots, weights = models[2]
    n_bits = limits[2] if negative else limits[3]
    n_nodes, node = 1 << max(limits[2], limits[3]), 1
    for k in range(n_bits - 1, -1, -1):
        first = ((2 * second + negative) * n_nodes + node) * _N_NODE_SLOTS
        chosen[0] = first + of_row
        chosen[1] = first + 32 + of_both
        chosen[2] = first + 64 + around
        chosen[3] = first + 96 + of_expected * 2 + (1 if negative == expects_less else 0)
        bit, one, other = (abs(value) - 1) >> k & 1, min(node, 15), 16 + of_both
        bit = arithmetic.mix_bit(data, state, bit, slots, chosen, N_MAGNITUDE, weights, one, other, logits)
        node = 2 * node + bit
    magnitude = node - (1 << int(n_bits)) + 1
    return -magnitude if negative else magnitude


def code_values(
    values: Words,
    geometry: tuple[int, int, int, int],
    limits: tuple[int, int],
    data: Bytes,
    position: int,
    end: int,
    *,
    decodes: bool,
    is_trellis: bool = False,
) -> int:
    """Write `values` into `data[position:end]`, or fill them from it; return where the code ends, -1 where it fails.

    values: (n_rows * length,). geometry: (n_rows, length, width, plane). limits: the lowest (at most 0) and the highest
    (at least 0) value, within +-255. is_trellis: they are the codes of `compression.trellis`. It fails without room,
    without bytes, or on a value beyond the limits.
    """
    n_rows, length, width, plane = geometry
    across = width if width > 1 else 3
    margin = 2 * max(plane, across) + 2
    n_bits = [max(limit - 1, 0).bit_length() for limit in (-limits[0], limits[1])]
    n_history = (length, n_rows) if n_rows > 1 and length > 1 else (1, 1)
    lines, scratch = np.zeros((3, length + 2 * margin), np.int32), np.zeros((2, N_FLAG), np.int32)
    state = arithmetic.start(data, position, end, decodes)
    _code_values(
        values,
        np.array([n_rows, length, across, plane, margin], np.int64),
        np.array([*limits, *n_bits], np.int64),
        data,
        state,
        _fresh_models(max(-limits[0], limits[1]), 2 if is_trellis else 1),
        (lines[0], lines[1], lines[2]),
        np.zeros(contexts.N_KNOWN, np.int64),
        (
            np.zeros(length // plane, np.int64),
            np.zeros(length, np.int64),
            np.zeros(length, np.int64),
            np.zeros(n_history, np.int16),
        ),
        np.zeros(row_prediction.N_TAPS, np.int32),
        (1 << contexts.INVERSE_BITS) // (np.arange(min(length, contexts.N_INVERSE)) + contexts.PRIOR),
        np.zeros(length if is_trellis else 0, np.int32),
        (scratch[0], scratch[1]),
    )
    return int(arithmetic.finish(data, state))


@allocation_free
def _code_values(
    values: Words,
    geometry: Ints,
    limits: Ints,
    data: Bytes,
    state: Ints,
    models: Models,
    lines: Lines,
    known: Ints,
    columns: Columns,
    taps: Words,
    inverse: Ints,
    machine: Words,
    scratch: Scratch,
) -> None:
    """Code one value after the other.

    geometry: (n_rows, length, across, plane, margin). limits: see `code_value`. machine: the states of the trellis'
    columns, (length,); (0,) without a trellis.
    """
    n_rows, length, across, plane, margin = geometry[0], geometry[1], geometry[2], geometry[3], geometry[4]
    here, above, before = lines
    sums, n_in_column, energy, history = columns
    predicts = n_rows > 1 and length > 1
    for row in range(n_rows):
        first_row = max(0, row - row_prediction.N_TAPS) if predicts else 0
        n_past = row - first_row if predicts else 0
        _begin_row(here, above, before, known, taps, n_past)
        of_columns = (1 << contexts.INVERSE_BITS + 4) // (row + contexts.PRIOR)
        for column in range(length):
            if known[contexts.PLACE] == plane:
                known[contexts.PLACE] = known[contexts.N_IN_PLANE] = 0
                known[contexts.PLANE] += 1
            if column & _REFRESHED == 0:
                known[contexts.MEAN] = (known[contexts.SUM] * 16 + 16) // (known[contexts.N_SEEN] + 1)
            past = history[column if predicts else 0, first_row:]
            guess = row_prediction.expected(taps, past, n_past)
            of_row, of_both = contexts.means(known, sums, column, row, inverse, plane)
            at = margin + column
            around = contexts.sizes_around(here, above, at, across, plane)
            of_column = contexts.level(n_in_column[column] * of_columns >> contexts.INVERSE_BITS)
            levels = (
                contexts.fine_level(of_row),
                contexts.fine_level(of_both),
                around,
                contexts.level(abs(guess)),
                of_column,
            )
            i = row * length + column
            second = machine[column] >> 1 if len(machine) else 0
            place = (at, across, plane, 1 if guess < 0 else 0, second)
            value = code_value(int(values[i]), limits, data, state, lines, place, known, levels, models, scratch)
            if value < limits[0] or value > limits[1]:
                state[arithmetic.FAILED] = 1
            if state[arithmetic.FAILED]:
                return
            values[i] = value
            if len(machine):
                machine[column] = NEXT[machine[column], value & 1]
                value = 2 * value - (int(value > 0) - int(value < 0)) * second
            here[at] = value
            if predicts:
                error = value * row_prediction.ONE - guess
                row_prediction.learn(taps, past, n_past, error, energy[column], column)
                history[column, row] = value
            known[contexts.N_SEEN] += 1
            known[contexts.PLACE] += 1
            if value != 0:
                known[contexts.SUM] += abs(value)
                known[contexts.ROW_SUM] += abs(value)
                known[contexts.N_IN_PLANE] += 1
                sums[known[contexts.PLANE]] += abs(value)
                n_in_column[column] += 1
                energy[column] += value * value


@inlined
def _begin_row(here: Words, above: Words, before: Words, known: Ints, taps: Words, n_past: int) -> None:
    """Move the row's values to the one before; nothing is known of the new one."""
    for at in range(len(here)):
        before[at], above[at], here[at] = above[at], here[at], 0
    for k in range(n_past):
        taps[k] = 0
    for k in range(contexts.ROW_SUM, contexts.N_KNOWN):
        known[k] = 0
