"""Symbols 0..255 by a context-mixing coder: each predicted from what is beside it (DeepCABAC, arXiv:1907.11900; lpaq).

The commonest symbol (a byte), the highest (a byte), the side of the images in a row (a varint, where the arrangement
leaves it open; 0 for none), then the code of `context_models.code_values` for the symbols less the commonest. It has no
tables: the probabilities are learned on the way, by writer and reader alike. It takes 0.1 to 0.2 microseconds a symbol
where most are zero, 0.4 for dense ones of 8 bits; worth it where zeros and values are not spread at random.

Bytes of any origin end: no bit is more probable than 65535 / 65536, so one byte makes at most 365,000 symbols, and the
reader stops where they run out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from effbench.codec.arrangement import Arrangement
from effbench.codec.symbol_table import Symbols
from effbench.codec.wire import Reader, damaged, varint

_TRIAL = 2**15
"""Symbols that are coded to see whether, and with which neighbours, all are worth it."""


def encode_symbols(symbols: Symbols, arrangement: Arrangement, /, *, at_most: int) -> bytes | None:
    """Return the code of symbols, (n,), in at most so many bytes, or None."""
    counts = np.bincount(symbols, minlength=256)
    commonest, highest = int(np.argmax(counts)), int(np.flatnonzero(counts)[-1])
    values = symbols.astype(np.int32) - np.int32(commonest)
    limits = (-commonest, highest - commonest)
    sides = arrangement.likely_sides(values)
    trial = arrangement.first(_TRIAL)
    if trial.n_rows < arrangement.n_rows or len(sides) > 1:
        # Half as much again as their share: the beginning has still everything to learn.
        max_bytes = 64 + at_most * trial.n_values * 3 // (2 * arrangement.n_values)
        tried = [(_encode(values[: trial.n_values], trial.with_side(side), limits, max_bytes), side) for side in sides]
        fitting = [(len(code), side) for code, side in tried if code is not None]
        if not fitting:
            return None
        sides = [min(fitting)[1]]
    head = bytes([commonest, highest]) + (varint(sides[0]) if arrangement.may_be_images else b"")
    code = _encode(values, arrangement.with_side(sides[0]), limits, at_most - len(head))
    return None if code is None else head + code


def decode_symbols(reader: Reader, arrangement: Arrangement, /) -> Symbols:
    """Return the symbols, (n,). ValueError unless their bytes are there."""
    commonest, highest = reader.byte(), reader.byte()
    if highest < commonest:
        raise damaged(f"the commonest symbol is {commonest}, the highest {highest}")
    side = reader.varint("the side of an image", at_most=arrangement.length) if arrangement.may_be_images else 0
    if not arrangement.is_side(side):
        raise damaged(f"a row of {arrangement.length} values holds no images of side {side}")
    values = np.zeros(arrangement.n_values, np.int32)
    # A copy can be written to, as numba has compiled it for writing.
    data = reader.array()[reader.position :].copy()
    limits = (-commonest, highest - commonest)
    end = _code(values, arrangement.with_side(side), limits, data, 0, decodes=True)
    if end < 0:
        raise damaged("a context code does not fit its symbols")
    reader.position += end
    return (values + commonest).astype(np.uint8)


def _encode(
    values: NDArray[np.int32], arrangement: Arrangement, limits: tuple[int, int], max_bytes: int
) -> bytes | None:
    if max_bytes <= 0:
        return None
    data = np.zeros(max_bytes, np.uint8)
    end = _code(values, arrangement, limits, data, 0, decodes=False)
    return None if end < 0 else data[:end].tobytes()


def _code(
    values: NDArray[np.int32],
    arrangement: Arrangement,
    limits: tuple[int, int],
    data: NDArray[np.uint8],
    position: int,
    *,
    decodes: bool,
) -> int:
    """Write the values into `data`, or fill them from it; return where the code ends, or -1."""
    from effbench.codec import context_models

    geometry = (arrangement.n_rows, arrangement.length, arrangement.width, arrangement.plane)
    return context_models.code_values(
        values, geometry, limits, data, position, len(data), decodes=decodes, is_trellis=arrangement.is_trellis
    )
