"""A binary range coder, and probabilities that learn: the loops that the context coder is made of, compiled by numba.

Everything is integers: a probability is a whole number of 2**-16 (of 2**-22 where it is kept), its logit a whole number
of 1/256. Writer and reader follow the same numbers on every machine. Import it where it is needed, as `kernels`.

* The range coder is LZMA's (Pavlov; Martin 1979): 32 bits of range, carries added to bytes that were written already.
* A slot is a probability of a one and how often it was used, in one word: ``probability << 10 | uses``. It moves by
  1 / (n + 1.5), in the end by 1 / LIMIT.
* A mixer weighs the logits of several slots and learns which to trust (Mahoney 2005, "Adaptive weighing of context
  models for lossless data compression", section 3; Wiedemann et al. 2019, arXiv:1907.11900, for the binary decisions).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from effbench.compression.jit import allocation_free, inlined

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Words = NDArray[np.int32]
Slots = NDArray[np.uint32]

# The places of a coder's state.
LOW, RANGE, CODE, POSITION, END, DECODES, FAILED = range(7)
N_STATE = 7

ONE_LOGIT = 256
MAX_LOGIT = 11 * ONE_LOGIT
LIMIT = 1023
_FULL = 1 << 32
_BOTTOM = 1 << 24
_PROBABILITY_BITS = 22
_USE_BITS = 10
_STRETCH_BITS = 12
_HALF = 1 << _PROBABILITY_BITS - 1
_START_WEIGHT = 20_000 * 7  # of 65536, over n + 3: several slots that agree add up to more than each says


def _logistic_table() -> Words:
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
    return np.array([65536 - value for value in upper[:0:-1]] + upper, np.int32)


def _logit_table() -> Words:
    """Return the logit of each probability of so many bits, taken from the middle of its step."""
    middles = (2 * np.arange(1 << _STRETCH_BITS - 1) + 1 << 15 - _STRETCH_BITS) + (1 << 15)
    upper = (np.searchsorted(SQUASH, middles) - MAX_LOGIT).clip(0, MAX_LOGIT)
    return np.concatenate([-upper[::-1], upper]).astype(np.int32)


SQUASH = _logistic_table()
STRETCH = _logit_table()
_MOVES = np.array([2 * 65536 // (2 * n + 3) for n in range(LIMIT + 1)], np.int32)
_TRUST = np.array([256 * 2 * n // (2 * n + 1) for n in range(LIMIT + 1)], np.int32)
_RATES = np.array([2 + 2000 // (n + 60) for n in range(LIMIT + 1)], np.int32)
"""How fast a mixer learns after so many uses: in large steps at first."""


def start(data: Bytes, position: int, end: int, decodes: bool) -> Ints:
    """Return the state of a coder that writes `data[position:end]`, or reads from `position` on."""
    state = np.zeros(N_STATE, np.int64)
    state[RANGE] = _FULL - 1
    state[POSITION], state[END], state[DECODES] = position, end, 1 if decodes else 0
    if decodes:
        for _ in range(4):
            state[CODE] = state[CODE] << 8 | _byte(data, state)
    return state


@inlined
def _byte(data: Bytes, state: Ints) -> int:
    """Return the next byte; beyond the end, zeros. `finish` tells how many there should have been."""
    at = state[POSITION]
    state[POSITION] = at + 1
    return int(data[at]) if at < state[END] else 0


@inlined
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


@inlined
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


@allocation_free
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


@inlined
def mix_bit(
    data: Bytes,
    state: Ints,
    bit: int,
    slots: Slots,
    chosen: Words,
    n_inputs: int,
    weights: Words,
    one: int,
    other: int,
    logits: Words,
) -> int:
    """Write `bit`, or read and return one, by what the chosen slots say, and let them and the weights learn it.

    slots: (n_slots,). chosen: the numbers of `n_inputs` of them, then anything. weights: (n_sets, n_inputs + 1), of
    65536; the last column counts uses. one, other: the rows to mix by; their two outcomes are averaged. logits: scratch
    for `n_inputs`.
    """
    for i in range(n_inputs):
        slot = int(slots[chosen[i]])
        logits[i] = int(STRETCH[slot >> 32 - _STRETCH_BITS]) * int(_TRUST[slot & LIMIT]) >> 8
    first = second = 0
    for i in range(n_inputs):
        first += int(logits[i]) * int(weights[one, i])
        second += int(logits[i]) * int(weights[other, i])
    first = min(max(first >> 16, -MAX_LOGIT), MAX_LOGIT)
    second = min(max(second >> 16, -MAX_LOGIT), MAX_LOGIT)
    bit = code_bit(data, state, bit, int(SQUASH[((first + second) >> 1) + MAX_LOGIT]))
    _learn(weights, one, n_inputs, logits, (bit << 16) - int(SQUASH[first + MAX_LOGIT]))
    _learn(weights, other, n_inputs, logits, (bit << 16) - int(SQUASH[second + MAX_LOGIT]))
    target = (bit << _PROBABILITY_BITS) - bit
    for i in range(n_inputs):
        slot = int(slots[chosen[i]])
        probability, n_uses = slot >> _USE_BITS, slot & LIMIT
        probability += (target - probability) * int(_MOVES[n_uses]) >> 16
        slots[chosen[i]] = probability << _USE_BITS | min(n_uses + 1, LIMIT)
    return bit


@inlined
def _learn(weights: Words, row: int, n_inputs: int, logits: Words, error: int) -> None:
    """Move the weights down the gradient of the code's length."""
    n_uses = int(weights[row, n_inputs])
    step = error * int(_RATES[n_uses])
    for i in range(n_inputs):
        weights[row, i] += (int(logits[i]) * step + (1 << 17)) >> 18
    weights[row, n_inputs] = min(n_uses + 1, LIMIT)


def fresh_slots(n_slots: int, /) -> Slots:
    """Return slots that know nothing, (n_slots,)."""
    return np.full(n_slots, _HALF << _USE_BITS, np.uint32)


def fresh_weights(n_sets: int, n_inputs: int, /) -> Words:
    """Return the weights of mixers that trust all their inputs alike, (n_sets, n_inputs + 1)."""
    weights = np.full((n_sets, n_inputs + 1), _START_WEIGHT // (n_inputs + 3), np.int32)
    weights[:, -1] = 0
    return weights
