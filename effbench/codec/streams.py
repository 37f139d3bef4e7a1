"""A sequence of symbols 0..255 as bytes: constant, packed in their width, or entropy coded, whichever is smallest.

The reader knows the number of symbols n. A stream of none is no bytes; others are a head byte and

* 0: one byte, the symbol that all of them are;
* 1..8: the symbols as binary numbers of so many bits;
* 9: a table of code lengths (`huffman.write_lengths`) and the codes. From `MIN_LANED` symbols on the codes are in four
  lanes, for speed: 4 x (n // 8 * 2) symbols, what is left over in the last; three varints give the bytes of the others;
* 10..17: a table of frequencies, of 0..7 bits below the leading one, and the code (`ans`);
* 19: the code of `context_coder`, which predicts from the neighbours in an arrangement that the reader knows, too. (18
  was a former one's.)

A coder may use all encodings of those before it: none (constant, packed), huffman, ans, context.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from effbench.codec import ans, context_coder, huffman
from effbench.codec.arrangement import Arrangement
from effbench.codec.symbol_table import N_SYMBOLS, Symbols
from effbench.codec.wire import Encoding, Reader, damaged, literal, smallest, varint

Coder = Literal["none", "huffman", "ans", "context"]

CONSTANT, HUFFMAN, ANS, CONTEXT = 0, 9, 10, 19
_FORMER_CONTEXT = 18
CODER_VERSIONS: dict[Coder, int] = {"none": 1, "huffman": 1, "ans": 1, "context": 2}
"""Counted up where a coder's files change: a result with a file of the former one is computed again."""
MIN_LANED = 2**15
_NOISE, _NOISY_BITS = 0.98, 7
"""A histogram that saves less than this leaves of seven bits or more is one of noise: no neighbour knows more."""


def encoding_of_symbols(symbols: Symbols, /, *, coder: Coder, arrangement: Arrangement | None = None) -> Encoding:
    """Return the smallest encoding of symbols, (n,).

    arrangement: what is beside what; None where only their order is known.
    """
    from effbench.codec import kernels

    if symbols.size == 0:
        return literal(b"")
    lanes = _lanes(symbols)
    lane_counts = np.stack([kernels.histogram(lane) for lane in lanes])
    counts = lane_counts.sum(0)
    encoding = _prefix_encoding(symbols, lanes, lane_counts, coder)
    if coder in ("none", "huffman") or np.count_nonzero(counts) == 1:
        return encoding
    width = int(np.flatnonzero(counts)[-1]).bit_length()
    if coder == "context" and (width < _NOISY_BITS or 8 * encoding.n_bytes < _NOISE * width * symbols.size):
        arrangement = Arrangement.line(symbols.size) if arrangement is None else arrangement
        predicted = context_coder.encode_symbols(symbols, arrangement, at_most=encoding.n_bytes - 2)
        encoding = encoding if predicted is None else literal(bytes([CONTEXT]) + predicted)
    if ans.least_bytes(counts) < encoding.n_bytes:
        n_mantissa, n_bytes = ans.best_mantissa(counts)
        if n_bytes < encoding.n_bytes:
            coded = bytes([ANS + n_mantissa]) + ans.encode_symbols(symbols, counts, n_mantissa)
            encoding = smallest(encoding, literal(coded))
    return encoding


def _prefix_encoding(symbols: Symbols, lanes: Sequence[Symbols], counts: NDArray[np.int64], coder: Coder) -> Encoding:
    """Return the smallest of constant, packed and Huffman coded. `counts` are those of each lane, (n_lanes, 256)."""
    head, lengths, table = _choose(counts.sum(0), coder)
    if head == CONSTANT:
        return literal(bytes([head, symbols[0]]))
    if head == 8:
        return Encoding(1 + symbols.size, lambda: bytes([head]) + symbols.tobytes())
    if head < 8:
        n_bytes = -(-symbols.size * head // 8)
        return Encoding(1 + n_bytes, lambda: bytes([head]) + _packed([symbols], lengths, [n_bytes]))
    sizes = [-(-int(lane_counts @ lengths) // 8) for lane_counts in counts]
    opening = bytes([head]) + table + b"".join(map(varint, sizes[:-1]))
    return Encoding(len(opening) + sum(sizes), lambda: opening + _packed(lanes, lengths, sizes))


def stream_bytes(counts: NDArray[np.int64], /, *, coder: Coder) -> int:
    """Return the bytes of a stream whose symbols occur `counts` times, (256,), were it in one lane.

    Nearly so for "ans", and for "context" what its symbols take in any order.
    """
    if not counts.any():
        return 0
    head, lengths, table = _choose(counts, coder)
    n_bytes = 1 + (1 if head == CONSTANT else len(table)) - (-int(counts @ lengths) // 8)
    if coder in ("none", "huffman") or head == CONSTANT or ans.least_bytes(counts) >= n_bytes:
        return n_bytes
    return min(n_bytes, 1 + ans.best_mantissa(counts)[1])


def read_symbols(reader: Reader, n_symbols: int, /, *, arrangement: Arrangement | None = None) -> Symbols:
    """Return the symbols of a stream, (n_symbols,), a new array. The caller has bounded their number.

    arrangement: the one that the stream was written with.
    """
    if n_symbols == 0:
        return np.empty(0, np.uint8)
    head = reader.byte()
    if head == CONSTANT:
        return np.full(n_symbols, reader.byte(), np.uint8)
    if head == 8:
        return np.frombuffer(reader.take(n_symbols), np.uint8).copy()
    if ANS <= head <= ANS + ans.MAX_MANTISSA:
        return ans.decode_symbols(reader, n_symbols, head - ANS)
    if head == CONTEXT:
        return context_coder.decode_symbols(reader, Arrangement.line(n_symbols) if arrangement is None else arrangement)
    if head == _FORMER_CONTEXT:
        raise ValueError(
            "the file was written by the context coder of effbench 0.1, which is no longer read: run it again"
        )
    if head > CONTEXT:
        raise damaged(f"a stream has the unknown form {head}")
    lengths = huffman.read_lengths(reader) if head == HUFFMAN else huffman.fixed_lengths(head)
    n_lanes = 4 if head == HUFFMAN and n_symbols >= MIN_LANED else 1
    sizes = [reader.varint("the size of a lane", at_most=reader.n_left) for _ in range(n_lanes - 1)]
    shortest = int(lengths[lengths > 0].min())
    if n_symbols * shortest > 8 * reader.n_left:
        raise damaged(f"{n_symbols} symbols of at least {shortest} bits don't fit into {reader.n_left} bytes")
    return _unpacked(reader, n_symbols, lengths, sizes)


def _lanes(symbols: Symbols) -> list[Symbols]:
    if len(symbols) < MIN_LANED:
        return [symbols]
    n_lane = _lane_symbols(len(symbols))
    return np.split(symbols, [n_lane, 2 * n_lane, 3 * n_lane])


def _lane_symbols(n_symbols: int) -> int:
    return n_symbols // 8 * 2


def _choose(counts: NDArray[np.int64], coder: Coder) -> tuple[int, NDArray[np.uint8], bytes]:
    """Return the head byte of the smallest form, the bits of each symbol in it, (256,), and the table of a code."""
    used = np.flatnonzero(counts)
    if len(used) == 1:
        return CONSTANT, np.zeros(N_SYMBOLS, np.uint8), b""
    width = int(used[-1]).bit_length()
    if coder != "none":
        lengths = huffman.best_lengths(counts)
        table = huffman.write_lengths(lengths)
        if 8 * len(table) + int(counts @ lengths) < width * int(counts.sum()):
            return HUFFMAN, lengths, table
    return width, huffman.fixed_lengths(width), b""


def _packed(lanes: Sequence[Symbols], lengths: NDArray[np.uint8], sizes: Sequence[int]) -> bytes:
    """Return the codes of each lane, from a whole byte on; `sizes` are the bytes of the lanes."""
    from effbench.codec import kernels

    entries = huffman.write_entries(lengths)
    parts: list[bytes | memoryview] = []
    for lane, size in zip(lanes, sizes, strict=True):
        words = np.zeros(size // 4 + 1, np.uint32)
        kernels.pack(lane, entries, words)
        parts.append(words.astype(">u4").view(np.uint8)[:size].data)
    return b"".join(parts)


def _unpacked(reader: Reader, n_symbols: int, lengths: NDArray[np.uint8], sizes: Sequence[int]) -> Symbols:
    """Read the codes at the reader's position; `sizes` are the bytes of all lanes but the last."""
    from effbench.codec import kernels

    table, width = huffman.read_table(lengths)
    symbols = np.empty(n_symbols, np.uint8)
    starts = reader.position + np.cumsum([0, *sizes])
    if len(starts) == 1:
        ends = np.array([kernels.unpack(reader.array(), int(starts[0]), table, width, symbols)])
    else:
        ends = kernels.unpack_lanes(reader.array(), starts, table, width, symbols, _lane_symbols(n_symbols))
    stops = -(-ends // 8)
    if not np.array_equal(stops[:-1], starts[1:]) or stops[-1] > len(reader.data):
        raise damaged("the codes of a stream don't end where they should")
    reader.position = int(stops[-1])
    return symbols
