"""Where the non-zero entries of a tensor are, in few bytes.

A form byte, then

* 0: a bitmap, one bit an entry, eight to a symbol, the first in the highest bit;
* 1: a mask, a symbol for each entry, 1 where it is not zero: for coders that predict it from its neighbours;
* 2..8, the width w of a gap symbol: the number of non-zero entries (varint), the number of escapes (varint), and the
  gaps: k < 2**w - 1 is k zeros and then a non-zero entry, the highest symbol is 2**w - 1 zeros and no entry.

The gaps are the relative index of Han et al. 2016 (arXiv:1510.00149, section 2), whose escape stores a filler zero.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from effbench.codec.arrangement import Arrangement
from effbench.codec.streams import Coder, encoding_of_symbols, read_symbols, stream_bytes
from effbench.codec.symbol_table import Symbols
from effbench.codec.wire import Encoding, Reader, damaged, literal, smallest, varint

Positions = NDArray[np.int64]

_BITMAP, _MASK = 0, 1
_WIDTHS = range(2, 9)
_FEW = 2**12


def encoding_of_index(
    positions: Positions, n_entries: int, /, *, coder: Coder, arrangement: Arrangement | None = None
) -> Encoding:
    """Return the smallest encoding of an index.

    positions: where the entries that are not zero are, (n_nonzero,), ascending, each below n_entries.
    arrangement: what is beside what, of all entries.
    """
    mask = np.zeros(n_entries, bool)
    mask[positions] = True
    # Neither a bitmap's symbols nor gaps have neighbours that say something: their order is all there is.
    in_order: Coder = "ans" if coder == "context" else coder
    bitmap = literal(bytes([_BITMAP])) + encoding_of_symbols(np.packbits(mask), coder=in_order)
    gaps = np.diff(positions, prepend=-1) - 1
    count_gap_symbols = _gap_counter(gaps)
    width = min(_WIDTHS, key=lambda width: stream_bytes(count_gap_symbols(width), coder=coder))
    symbols = _gap_symbols(gaps, 2**width - 1)
    head = bytes([width]) + varint(len(positions)) + varint(len(symbols) - len(positions))
    relative = literal(head) + encoding_of_symbols(symbols, coder=in_order)
    if coder != "context":
        return smallest(relative, bitmap)
    flags = encoding_of_symbols(mask.astype(np.uint8), coder=coder, arrangement=arrangement)
    return smallest(relative, bitmap, literal(bytes([_MASK])) + flags)


def read_index(reader: Reader, n_entries: int, /, *, arrangement: Arrangement | None = None) -> Positions:
    """Return the positions of the non-zero entries, (n_nonzero,), ascending, each below n_entries.

    arrangement: the one that the index was written with.
    """
    form = reader.byte()
    if form == _MASK:
        mask = read_symbols(reader, n_entries, arrangement=arrangement)
        if (mask > 1).any():
            raise damaged("a mask has other values than 0 and 1")
        return np.flatnonzero(mask)
    if form == _BITMAP:
        bits = np.unpackbits(read_symbols(reader, -(-n_entries // 8)))
        if bits[n_entries:].any():
            raise damaged("a bitmap goes on after its last entry")
        return np.flatnonzero(bits)
    if form not in _WIDTHS:
        raise damaged(f"an index has the unknown form {form}")
    n_nonzero = reader.varint("the number of non-zero entries", at_most=n_entries)
    escape = 2**form - 1
    n_escapes = reader.varint("the number of escapes", at_most=(n_entries - n_nonzero) // escape)
    symbols = read_symbols(reader, n_nonzero + n_escapes)
    is_entry = symbols < escape
    ends = np.cumsum(symbols + is_entry, dtype=np.int64)
    positions: Positions = ends[is_entry] - 1
    if len(positions) != n_nonzero or (ends.size and ends[-1] > n_entries) or (symbols > escape).any():
        raise damaged(f"an index does not lead to {n_nonzero} of {n_entries} entries")
    return positions


def _gap_symbols(gaps: NDArray[np.int64], escape: int) -> Symbols:
    n_escapes = gaps // escape
    ends = np.cumsum(n_escapes + 1)
    symbols = np.full(int(ends[-1]) if ends.size else 0, escape, np.uint8)
    symbols[ends - 1] = gaps - n_escapes * escape
    return symbols


def _gap_counter(gaps: NDArray[np.int64]) -> Callable[[int], NDArray[np.int64]]:
    """Return a function from the width of a gap symbol to how often each symbol would occur, (256,)."""
    counts = np.bincount(gaps[gaps < _FEW], minlength=_FEW)
    sizes, size_counts = np.unique(gaps[gaps >= _FEW], return_counts=True)
    sizes, size_counts = np.concatenate([np.arange(_FEW), sizes]), np.concatenate([counts, size_counts])

    def count(width: int) -> NDArray[np.int64]:
        escape = 2**width - 1
        symbol_counts = np.zeros(256, np.int64)
        np.add.at(symbol_counts, sizes % escape, size_counts)
        symbol_counts[escape] = int(sizes // escape @ size_counts)
        return symbol_counts

    return count
