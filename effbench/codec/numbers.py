"""Sequences of integers wider than a symbol: bit patterns of floats, and integers as offsets from their lowest.

Both are cut into symbols of eight bits from the highest bit down; what is left over is a last, narrower symbol. Each
cut is a stream of its own, so the bits that say much (exponents, high bits of a code) are coded apart from the noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from effbench.codec.arrangement import Arrangement
from effbench.codec.streams import Coder, encoding_of_symbols, read_symbols
from effbench.codec.wire import Encoding, Reader, damaged, literal, signed_varint, smallest

Unsigned = NDArray[np.unsignedinteger]
Integers = NDArray[np.int64]

# They take the place of the first stream's head, whose values are small.
_VERBATIM, _SIGNED = 255, 254
_TOP_BITS, _MIDDLE = 8, 128
_FEW = 2**15
"""Floats up to which both ways are tried; of more, what beside each other says of signs outweighs the learning."""


def encoding_of_patterns(patterns: Unsigned, /, *, coder: Coder, arrangement: Arrangement | None = None) -> Encoding:
    """Return the smallest encoding of floats given by their bit patterns, (n,): as they are, or cut into streams.

    The sign goes to the lowest place first: the exponent then fills symbols of its own. Where a coder predicts, sign
    and exponent (the eight bits below it) may be together: what is beside a value says something of both.

    arrangement: what is beside what.
    """
    if patterns.size == 0:
        return literal(b"")
    width = 8 * patterns.itemsize
    n_bytes = 1 + patterns.nbytes
    verbatim = Encoding(n_bytes, lambda: bytes([_VERBATIM]) + patterns.astype(_little(patterns.dtype)).tobytes())
    signed = _encoding_with_signs(patterns, width, arrangement) if coder == "context" and width > 8 else None
    if signed is not None and patterns.size > _FEW and signed.n_bytes < verbatim.n_bytes:
        return signed
    cut = _encoding_of_cuts(_rotated(patterns, 1), width, coder, arrangement)
    return smallest(verbatim, cut) if signed is None else smallest(verbatim, cut, signed)


def read_patterns(
    reader: Reader, n_patterns: int, dtype: np.dtype[np.unsignedinteger], /, *, arrangement: Arrangement | None = None
) -> Unsigned:
    """Return bit patterns, (n_patterns,) of an unsigned type, a new array. The caller has bounded their number."""
    if n_patterns == 0:
        return np.empty(0, dtype)
    if reader.peek() == _VERBATIM:
        reader.byte()
        return np.frombuffer(reader.take(n_patterns * dtype.itemsize), _little(dtype)).astype(dtype)
    width = 8 * dtype.itemsize
    if reader.peek() == _SIGNED and width > 8:
        reader.byte()
        return _read_with_signs(reader, n_patterns, width, dtype, arrangement)
    return _rotated(_read_cuts(reader, n_patterns, width, dtype, arrangement), width - 1)


def _encoding_with_signs(patterns: Unsigned, width: int, arrangement: Arrangement | None) -> Encoding | None:
    """Return the encoding of signs and the eight bits below them in one stream, the other bits in theirs; or None.

    The lowest of the eight that is not zero (a byte), then symbols: 128 for zero, 129 for the lowest, 127 for that with
    a sign. None where they span more than 127, or where something with a sign has none of the eight.
    """
    top = (patterns >> patterns.dtype.type(width - 1 - _TOP_BITS)).astype(np.int64)
    is_negative, top = top >> _TOP_BITS == 1, top & (1 << _TOP_BITS) - 1
    used = top[top > 0]
    if used.size == 0 or int(used.max()) - int(used.min()) >= _MIDDLE - 1 or (is_negative & (top == 0)).any():
        return None
    lowest = int(used.min())
    levels = np.where(top > 0, top - lowest + 1, 0)
    symbols = (_MIDDLE + np.where(is_negative, -levels, levels)).astype(np.uint8)
    n_rest = width - 1 - _TOP_BITS
    rest = patterns & patterns.dtype.type((1 << n_rest) - 1)
    head = literal(bytes([_SIGNED, lowest])) + encoding_of_symbols(symbols, coder="context", arrangement=arrangement)
    return head + _encoding_of_cuts(rest, n_rest, "context", arrangement)


def _read_with_signs(
    reader: Reader, n_patterns: int, width: int, dtype: np.dtype[np.unsignedinteger], arrangement: Arrangement | None
) -> Unsigned:
    lowest = reader.byte()
    levels = read_symbols(reader, n_patterns, arrangement=arrangement).astype(np.int64) - _MIDDLE
    top = np.where(levels == 0, 0, np.abs(levels) - 1 + lowest)
    if int(top.max()) >> _TOP_BITS:
        raise damaged(f"the highest bits of a float are {int(top.max())}")
    n_rest = width - 1 - _TOP_BITS
    patterns: Unsigned = (top | (levels < 0).astype(np.int64) << _TOP_BITS).astype(dtype) << dtype.type(n_rest)
    patterns |= _read_cuts(reader, n_patterns, n_rest, dtype, arrangement)
    return patterns


def encoding_of_integers(
    values: Integers, /, *, without_zero: bool = False, coder: Coder, arrangement: Arrangement | None = None
) -> Encoding:
    """Return the smallest encoding of integers, (n,): the lowest, the bits of the largest offset from it, the offsets.

    `without_zero`: none of them is 0, and the offsets of those above close the gap (-1 and 1 then differ by one).
    """
    if values.size == 0:
        return literal(b"")
    lowest = int(values.min())
    # Modulo 2**64 an offset is right even where the signed difference overflows.
    offsets = values.view(np.uint64) - np.array([lowest]).view(np.uint64)
    if without_zero and lowest < 0:
        offsets -= (values > 0).astype(np.uint64)
    width = int(offsets.max()).bit_length()
    return literal(signed_varint(lowest) + bytes([width])) + _encoding_of_cuts(offsets, width, coder, arrangement)


def read_integers(
    reader: Reader,
    n_values: int,
    /,
    *,
    limits: tuple[int, int],
    without_zero: bool = False,
    arrangement: Arrangement | None = None,
) -> Integers:
    """Return integers, (n_values,), a new array. ValueError where one is outside `limits` (inclusive, within int64)."""
    if n_values == 0:
        return np.empty(0, np.int64)
    lowest = reader.signed_varint("the lowest of some integers")
    width = reader.byte()
    widest = (limits[1] - limits[0]).bit_length()
    if width > widest:  # before they are read: their time and memory grow with their width
        raise damaged(f"integers of {width} bits, where {widest} hold all that are possible")
    dtype: np.dtype[np.unsignedinteger] = np.dtype("u1" if width <= 8 else "u4" if width <= 32 else "u8")
    offsets = _read_cuts(reader, n_values, width, dtype, arrangement)
    closes_gap = without_zero and lowest < 0
    highest = lowest + int(offsets.max())
    if closes_gap and highest >= 0:
        highest += 1
    if lowest < limits[0] or highest > limits[1]:
        raise damaged(f"integers from {lowest} to {highest} where {limits[0]} to {limits[1]} is possible")
    values = (offsets.astype(np.uint64) + np.array([lowest]).view(np.uint64)).view(np.int64)
    if closes_gap:
        values += values >= 0
    return values


def _encoding_of_cuts(values: Unsigned, width: int, coder: Coder, arrangement: Arrangement | None) -> Encoding:
    """Return the smallest encoding of values below 2**width, cut by cut."""
    cuts = [
        encoding_of_symbols(
            (values >> values.dtype.type(shift)).astype(np.uint8) & np.uint8(2**n_bits - 1),
            coder=coder,
            arrangement=arrangement,
        )
        for shift, n_bits in _cuts(width)
    ]
    return reduce(add, cuts, literal(b""))


def _read_cuts(
    reader: Reader, n_values: int, width: int, dtype: np.dtype[np.unsignedinteger], arrangement: Arrangement | None
) -> Unsigned:
    """Return values below 2**width, which fits into `dtype`."""
    values = np.zeros(n_values, dtype)
    for shift, n_bits in _cuts(width):
        symbols = read_symbols(reader, n_values, arrangement=arrangement)
        if n_bits < 8 and int(symbols.max()) >= 2**n_bits:
            raise damaged(f"a symbol of {n_bits} bits is {int(symbols.max())}")
        values |= symbols.astype(dtype) << dtype.type(shift)
    return values


def _cuts(width: int) -> Iterator[tuple[int, int]]:
    """Yield the lowest bit and the number of bits of each cut, from the highest down."""
    while width > 0:
        n_bits = min(8, width)
        width -= n_bits
        yield width, n_bits


def _rotated(patterns: Unsigned, n_bits: int) -> Unsigned:
    """Move the highest `n_bits` of each pattern to its low end."""
    scalar = patterns.dtype.type
    return patterns << scalar(n_bits) | patterns >> scalar(8 * patterns.itemsize - n_bits)


def _little(dtype: np.dtype[np.unsignedinteger]) -> np.dtype[np.unsignedinteger]:
    return dtype.newbyteorder("<")
