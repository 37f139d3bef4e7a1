"""A binary range coder, and probabilities that learn: the loops that the context coder is made of, compiled by numba.

Everything is integers: a probability is a whole number of 2**-16 (of 2**-22 where it is kept), its logit a whole number
of 1/256. Writer and reader follow the same numbers on every machine. Import it where it is needed, as `kernels`.

* The range coder is LZMA's (Pavlov; Martin 1979): 32 bits of range, carries added to bytes that were written already.
* A slot is a probability of a one and how often it was used: it moves by 1 / (n + 1.5), in the end by 1 / LIMIT.
* A mixer weighs the logits of several slots and learns which to trust (Mahoney 2005, "Adaptive weighing of context
  models for lossless data compression", section 3; Wiedemann et al. 2019, arXiv:1907.11900, for the binary decisions).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from effbench.compression.jit import compiled

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

# The places of a coder's state.
LOW, RANGE, CODE, POSITION, END, DECODES, FAILED = range(7)
N_STATE = 7

ONE_LOGIT = 256
MAX_LOGIT = 11 * ONE_LOGIT
LIMIT = 1023
_FULL = 1 << 32
_BOTTOM = 1 << 24
_PROBABILITY_BITS = 22
_START_WEIGHT = 14_000  # of 65536: several slots that agree add up to a little more than each says


def _logistic_table() -> Ints:
    """Return 2**16 / (1 + exp(-x / 256)) for x from -MAX_LOGIT to MAX_LOGIT, by integer arithmetic alone."""
    unity = 1 << 96
    term, step = unity, unity
    for n in range(1, 30):  # the series of exp(-1 / 256)
        term = -term // (n * ONE_LOGIT)
        step += term
    half, power = [], unity
    for _ in range(MAX_LOGIT + 1):
        half.append((unity << 16) // (unity + power))
        power = power * step >> 96
    upper = [min(value, 65535) for value in half]
    return np.array([65536 - value for value in upper[:0:-1]] + upper, np.int64)


SQUASH = _logistic_table()
STRETCH = (np.searchsorted(SQUASH, np.arange(65536)) - MAX_LOGIT).clip(-MAX_LOGIT, MAX_LOGIT).astype(np.int64)
_MOVES = np.array([2 * 65536 // (2 * n + 3) for n in range(LIMIT + 1)], np.int64)
_TRUST = np.array([256 * 2 * n // (2 * n + 1) for n in range(LIMIT + 1)], np.int64)


@compiled
def start(data: Bytes, position: int, end: int, decodes: bool) -> Ints:
    """Return the state of a coder that writes `data[position:end]`, or reads from `position` on."""
    state = np.zeros(N_STATE, np.int64)
    state[RANGE] = _FULL - 1
    state[POSITION], state[END], state[DECODES] = position, end, 1 if decodes else 0
    if decodes:
        for _ in range(4):
            state[CODE] = state[CODE] << 8 | _byte(data, state)
    return state


@compiled
def _byte(data: Bytes, state: Ints) -> int:
    """Return the next byte; beyond the end, zeros. `finish` tells how many there should have been."""
    at = state[POSITION]
    state[POSITION] = at + 1
    return int(data[at]) if at < state[END] else 0


@compiled
def _put(data: Bytes, state: Ints) -> None:
    """Write the highest byte of `low`, after its carry."""
    at = state[POSITION]
    if at >= state[END]:
        state[FAILED] = 1
        return
    if state[LOW] >= _FULL:
        state[LOW] -= _FULL
        before = at - 1
        while data[before] == 255:
            data[before] = 0
            before -= 1
        data[before] += 1
    data[at] = state[LOW] >> 24
    state[POSITION] = at + 1


@compiled
def code_bit(data: Bytes, state: Ints, bit: int, probability: int) -> int:
    """Write `bit`, or read and return one, where a one has `probability`, 1..65535 of 65536."""
    bound = (state[RANGE] >> 16) * probability
    if state[DECODES]:
        bit = 1 if state[CODE] < bound else 0
    if bit:
        state[RANGE] = bound
    else:
        state[RANGE] -= bound
        state[LOW] += bound
        state[CODE] -= bound
    while state[RANGE] < _BOTTOM and not state[FAILED]:
        state[RANGE] <<= 8
        if state[DECODES]:
            state[CODE] = state[CODE] << 8 | _byte(data, state)
            # Two bytes more than are needed are read ahead.
            state[FAILED] = 1 if state[POSITION] - 2 > state[END] else 0
        else:
            _put(data, state)
            state[LOW] = (state[LOW] & (_BOTTOM - 1)) << 8
    return bit


@compiled
def finish(data: Bytes, state: Ints) -> int:
    """End the code; return the position after its last byte, or -1 when there was no room or too few bytes."""
    if state[DECODES]:
        state[POSITION] -= 2
        return int(state[POSITION]) if not state[FAILED] and state[POSITION] <= state[END] else -1
    # Whatever follows these two bytes, the number is within the range.
    state[LOW] += 0xFFFF
    for _ in range(2):
        if not state[FAILED]:
            _put(data, state)
            state[LOW] = (state[LOW] & (_BOTTOM - 1)) << 8
    return -1 if state[FAILED] else int(state[POSITION])


@compiled
def mix_bit(
    data: Bytes, state: Ints, bit: int, slots: Ints, chosen: Ints, weights: Ints, sets: Ints, logits: Ints
) -> int:
    """Write `bit`, or read and return one, by what the chosen slots say, and let them and the weights learn it.

    slots: (n_slots, 2), probability of a one (of 2**22) and uses. chosen: (n_inputs,), their numbers.
    weights: (n_sets, n_inputs + 1), of 65536; the last column counts uses. sets: (2,), the rows to mix by; their two
    outcomes are averaged. logits: (n_inputs,), scratch.
    """
    n_inputs = len(chosen)
    for i in range(n_inputs):
        slot = chosen[i]
        logits[i] = STRETCH[slots[slot, 0] >> 6] * _TRUST[slots[slot, 1]] >> 8
    outputs = (_dot(weights, sets[0], logits), _dot(weights, sets[1], logits))
    total = (outputs[0] + outputs[1]) >> 1
    bit = code_bit(data, state, bit, SQUASH[total + MAX_LOGIT])
    for k in range(2):
        _learn(weights, sets[k], logits, (bit << 16) - SQUASH[outputs[k] + MAX_LOGIT])
    for i in range(n_inputs):
        slot = chosen[i]
        n_uses = slots[slot, 1]
        slots[slot, 0] += (((bit << _PROBABILITY_BITS) - bit) - slots[slot, 0]) * _MOVES[n_uses] >> 16
        if n_uses < LIMIT:
            slots[slot, 1] = n_uses + 1
    return bit


@compiled
def _dot(weights: Ints, row: int, logits: Ints) -> int:
    total = 0
    for i in range(len(logits)):
        total += weights[row, i] * logits[i]
    return int(min(max(total >> 16, -MAX_LOGIT), MAX_LOGIT))


@compiled
def _learn(weights: Ints, row: int, logits: Ints, error: int) -> None:
    """Move the weights down the gradient of the code's length, in large steps at first."""
    last = len(logits)
    n_uses = weights[row, last]
    rate = 2 + 2000 // (n_uses + 60)
    for i in range(last):
        weights[row, i] += (logits[i] * error * rate + (1 << 17)) >> 18
    weights[row, last] = n_uses + 1


def fresh_slots(n_slots: int, /) -> Ints:
    """Return slots that know nothing, (n_slots, 2)."""
    slots = np.zeros((n_slots, 2), np.int64)
    slots[:, 0] = 1 << _PROBABILITY_BITS - 1
    return slots


def fresh_weights(n_sets: int, n_inputs: int, /) -> Ints:
    """Return the weights of mixers that trust all their inputs alike, (n_sets, n_inputs + 1)."""
    weights = np.full((n_sets, n_inputs + 1), _START_WEIGHT, np.int64)
    weights[:, -1] = 0
    return weights
