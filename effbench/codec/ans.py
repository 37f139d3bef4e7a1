"""Symbols 0..255 by asymmetric numeral systems, with constriction, and a table of how often each of them occurs.

The table is a byte, the number of different symbols less one, and bits: for each symbol that occurs the exponent of its
number of times, by its step (`symbol_table`; at first from 8, five bits), and after it the highest bits below
the leading one of that number, at most `n_mantissa` of them. A varint gives the bytes of the code, whose 32-bit words
are little-endian, without the zero bytes at its end.

Frequencies are whole numbers that add up to 2**24, made from the table by integer arithmetic. constriction takes
probabilities as floats, scales them to 2**24 less one for each symbol, and adds that one. It is given whole numbers of
just this sum, so it has nothing to round: every machine codes with the same numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from effbench.codec.symbol_table import N_SYMBOLS, Bits, Symbols, read_step, step_bits, to_bytes
from effbench.codec.wire import Reader, damaged, varint

Counts = NDArray[np.int64]

MAX_MANTISSA = 7
_PRECISION = 24
_FIRST_EXPONENT = 8
_MAX_EXPONENT = 31


def best_mantissa(counts: Counts, /) -> tuple[int, int]:
    """Return how exact the table should be (0..MAX_MANTISSA) and about how many bytes table and code then take.

    counts: (256,), at least two of them positive.
    """
    from effbench.codec import kernels

    is_used = counts > 0
    used, least = counts[is_used], least_bytes(counts)
    exponents = np.frexp(used)[1] - 1
    sizes: list[int] = []
    for n_mantissa in range(MAX_MANTISSA + 1):
        rounded = _rounded(counts, n_mantissa)
        n_bits = float(used @ (_PRECISION - np.log2(frequencies_of(rounded)[is_used])))
        n_table = 1 + -(-kernels.table_bits(rounded, n_mantissa, _FIRST_EXPONENT) // 8)
        sizes.append(n_table + int(n_bits / 8) + 1)
        # All later tables have more bits below the leading ones, and no code is shorter than the entropy.
        if least + int(np.minimum(exponents, n_mantissa + 1).sum()) // 8 > min(sizes):
            break
    best = int(np.argmin(sizes))
    return best, sizes[best] + len(varint(sizes[best]))


def least_bytes(counts: Counts, /) -> int:
    """Return a number of bytes below which table and code can't be, in far less time than `best_mantissa` takes."""
    used = counts[counts > 0]
    n_bits = float(used @ np.log2(used.sum() / used))
    return 1 + (int(n_bits) + len(used)) // 8


def encode_symbols(symbols: Symbols, counts: Counts, n_mantissa: int, /) -> bytes:
    """Return table and code of symbols, (n,), of which there are `counts`, (256,), at least two of them positive."""
    import constriction

    numbers = np.cumsum(counts > 0, dtype=np.int32) - 1
    coder = constriction.stream.stack.AnsCoder()
    coder.encode_reverse(numbers[symbols], _model(frequencies_of(_rounded(counts, n_mantissa))))
    code: bytes = coder.get_compressed().astype("<u4").tobytes().rstrip(b"\0")
    return write_table(counts, n_mantissa) + varint(len(code)) + code


def decode_symbols(reader: Reader, n_symbols: int, n_mantissa: int, /) -> Symbols:
    """Return the symbols, (n_symbols,). ValueError unless the code ends with the last of them."""
    import constriction

    counts = read_table(reader, n_mantissa)
    frequencies = frequencies_of(counts)
    code = reader.take(reader.varint("the bytes of an ANS code", at_most=reader.n_left))
    shortest = _PRECISION - float(np.log2(frequencies.max()))
    if n_symbols * shortest > 8 * len(code) + 64:
        raise damaged(f"{n_symbols} symbols of at least {shortest:.2g} bits don't fit into {len(code)} bytes")
    words = np.frombuffer(code + bytes(-len(code) % 4), "<u4").astype(np.uint32)
    if code.endswith(b"\0"):
        raise damaged("an ANS code ends with a zero")
    coder = constriction.stream.stack.AnsCoder(words)
    numbers = coder.decode(_model(frequencies), n_symbols)
    if not coder.is_empty():
        raise damaged("an ANS code goes on after its last symbol")
    symbols: Symbols = np.flatnonzero(counts).astype(np.uint8)[numbers]
    return symbols


def frequencies_of(counts: Counts, /) -> Counts:
    """Return frequencies that add up to 2**24, (256,), in proportion to the counts, where positive at least 1."""
    from effbench.codec import kernels

    return kernels.shares(counts, 2**_PRECISION)


def write_table(counts: Counts, n_mantissa: int, /) -> bytes:
    """Return the table of counts, (256,), rounded to `n_mantissa` bits below their leading one."""
    rounded = _rounded(counts, n_mantissa)
    bits: list[str] = []
    last, unused = _FIRST_EXPONENT, 0
    for count in rounded[: np.flatnonzero(rounded)[-1] + 1].tolist():
        if count == 0:
            unused += 1
            continue
        exponent = count.bit_length() - 1
        bits.append(step_bits(exponent, last, unused, width=5))
        n_kept = min(exponent, n_mantissa)
        bits.append(f"{count >> exponent - n_kept:b}"[1:])
        last, unused = exponent, 0
    return bytes([int(np.count_nonzero(rounded)) - 1]) + to_bytes("".join(bits))


def read_table(reader: Reader, n_mantissa: int, /) -> Counts:
    """Return the counts of a table, (256,). ValueError where it is none."""
    n_used = reader.byte() + 1
    if n_used < 2:
        raise damaged("an ANS table has one symbol")
    bits = Bits(reader)
    counts = np.zeros(N_SYMBOLS, np.int64)
    symbol, last = 0, _FIRST_EXPONENT
    while n_used > 0:
        symbol, last = read_step(bits, symbol, last, width=5)
        if not 0 <= last <= _MAX_EXPONENT or symbol >= N_SYMBOLS:
            raise damaged(f"an ANS table gives symbol {symbol} the exponent {last}")
        n_kept = min(last, n_mantissa)
        counts[symbol] = (1 << n_kept | bits.next(n_kept)) << last - n_kept
        symbol += 1
        n_used -= 1
    return counts


def _rounded(counts: Counts, n_mantissa: int) -> Counts:
    """Round each count to its leading one and so many bits below, what is in the middle upwards."""
    from effbench.codec import kernels

    return kernels.rounded(counts, n_mantissa)


def _model(frequencies: Counts) -> object:
    """Return constriction's model of these frequencies, over the symbols that occur."""
    import constriction

    return constriction.stream.model.Categorical((frequencies[frequencies > 0] - 1).astype(np.float64), perfect=False)
