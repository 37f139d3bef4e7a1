"""Canonical Huffman codes of limited length over the symbols 0..255, and their tables."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from effbench.codec.symbol_table import N_SYMBOLS, Bits, read_step, step_bits, to_bytes
from effbench.codec.wire import Reader, damaged

MAX_LENGTH = 15
_FIRST_LENGTH = 4

# A table of 2**12 entries stays in the processor's first-level cache. Longer codes only where they save this much.
_FAST_LENGTH = 12
_WORTH_SLOWING = 1.001


def limited_lengths(counts: NDArray[np.int64], /, *, limit: int) -> NDArray[np.uint8]:
    """Return the lengths of an optimal prefix code whose codes have at most `limit` bits.

    counts: (n,), two of them at least positive. Returns (n,), 0 for what never occurs. ValueError when `limit` bits are
    too few for so many symbols. Package-merge (Larmore and Hirschberg 1990, doi:10.1145/79147.79150).
    """
    used = np.flatnonzero(counts)
    if not 2 <= len(used) <= 2**limit:
        raise ValueError(f"a code of {len(used)} symbols in at most {limit} bits is not possible")
    from effbench.codec import kernels

    order = used[np.argsort(counts[used], kind="stable")]
    lengths = np.zeros(len(counts), np.uint8)
    lengths[order] = kernels.package_merge(counts[order], limit)
    return lengths


def best_lengths(counts: NDArray[np.int64], /) -> NDArray[np.uint8]:
    """Return the code lengths for symbols that occur `counts` times, (256,): short tables unless they cost bits."""
    fast = limited_lengths(counts, limit=_FAST_LENGTH)
    if fast.max() < _FAST_LENGTH:
        return fast
    full = limited_lengths(counts, limit=MAX_LENGTH)
    return full if int(counts @ fast) > _WORTH_SLOWING * int(counts @ full) else fast


def fixed_lengths(width: int, /) -> NDArray[np.uint8]:
    """Return the lengths of plain binary numbers of `width` bits as a code, (256,)."""
    lengths = np.zeros(N_SYMBOLS, np.uint8)
    lengths[: 2**width] = width
    return lengths


def write_entries(lengths: NDArray[np.uint8], /) -> NDArray[np.uint32]:
    """Return ``code << 8 | length`` of each symbol, (256,), for `kernels.pack`. The code must be complete."""
    order, spans, width = _canonical(lengths)
    codes = (np.cumsum(spans) - spans) >> (width - lengths[order].astype(np.int64))
    entries = np.zeros(N_SYMBOLS, np.uint32)
    entries[order] = codes << 8 | lengths[order]
    return entries


def read_table(lengths: NDArray[np.uint8], /) -> tuple[NDArray[np.uint16], int]:
    """Return ``symbol << 8 | length`` of each pattern of `width` bits, (2**width,), and `width`, for `kernels.unpack`.

    The code must be complete: then the table has no holes.
    """
    order, spans, width = _canonical(lengths)
    return np.repeat((order << 8 | lengths[order]).astype(np.uint16), spans), width


def _canonical(lengths: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Return the symbols in the order of their codes, the share of each of 2**width patterns, and the width."""
    order = np.argsort(lengths, kind="stable")[np.count_nonzero(lengths == 0) :]
    width = int(lengths.max())
    spans = np.left_shift(1, width - lengths[order].astype(np.int64))
    assert int(spans.sum()) == 2**width, "the code is not complete"
    return order, spans, width


def write_lengths(lengths: NDArray[np.uint8], /) -> bytes:
    """Return the lengths of a complete code in few bytes, by their steps (`symbol_table`), at first from 4.

    It needs no end: a complete code shows that it is.
    """
    bits: list[str] = []
    last, unused = _FIRST_LENGTH, 0
    for length in lengths[: np.flatnonzero(lengths)[-1] + 1].tolist():
        if length == 0:
            unused += 1
            continue
        bits.append(step_bits(length, last, unused, width=4))
        last, unused = length, 0
    return to_bytes("".join(bits))


def read_lengths(reader: Reader, /) -> NDArray[np.uint8]:
    """Return the lengths of a complete code, (256,). ValueError unless they are one (Kraft's sum is 1)."""
    bits = Bits(reader)
    lengths = np.zeros(N_SYMBOLS, np.uint8)
    symbol, last, n_free = 0, _FIRST_LENGTH, 2**MAX_LENGTH
    while n_free > 0:
        symbol, last = read_step(bits, symbol, last, width=4)
        if not 1 <= last <= MAX_LENGTH or symbol >= N_SYMBOLS:
            raise damaged(f"a Huffman table gives symbol {symbol} a code of {last} bits")
        lengths[symbol] = last
        n_free -= 2 ** (MAX_LENGTH - last)
        symbol += 1
    if n_free < 0:
        raise damaged("a Huffman table has more codes than fit")
    return lengths
