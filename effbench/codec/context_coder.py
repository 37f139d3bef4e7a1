"""Symbols 0..255 by a context-mixing coder: each predicted from its neighbours (DeepCABAC, arXiv:1907.11900; lpaq).

The commonest symbol (a byte), the highest (a byte), the side of the images in a row (a varint, where the layout leaves
it open; 0 for none), then the code of `contexts.code_values` for the symbols less the commonest. It has no tables: the
probabilities are learned on the way, by writer and reader alike. Slow (10**6 symbols a second where most are
zero, a third of that for dense ones of 8 bits); worth it where zeros and values are not spread at random.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from effbench.codec.layout import Layout
from effbench.codec.wire import Reader, damaged, varint

Symbols = NDArray[np.uint8]

_TRIAL = 2**15
"""Symbols that are coded to see whether, and with which neighbours, all are worth it."""


def encode_symbols(symbols: Symbols, layout: Layout, /, *, at_most: int) -> bytes | None:
    """Return the code of symbols, (n,), in at most so many bytes, or None."""
    counts = np.bincount(symbols, minlength=256)
    commonest, highest = int(np.argmax(counts)), int(np.flatnonzero(counts)[-1])
    values = symbols.astype(np.int64) - commonest
    limits = (-commonest, highest - commonest)
    sides = layout.likely_sides(values)
    trial = layout.first(_TRIAL)
    if trial.n_rows < layout.n_rows or len(sides) > 1:
        # Half as much again as their share: the beginning has still everything to learn.
        room = 64 + at_most * trial.n_values * 3 // (2 * layout.n_values)
        tried = [(_encode(values[: trial.n_values], trial.with_side(side), limits, room), side) for side in sides]
        fitting = [(len(code), side) for code, side in tried if code is not None]
        if not fitting:
            return None
        sides = [min(fitting)[1]]
    head = bytes([commonest, highest]) + (varint(sides[0]) if layout.may_be_images else b"")
    code = _encode(values, layout.with_side(sides[0]), limits, at_most - len(head))
    return None if code is None else head + code


def decode_symbols(reader: Reader, layout: Layout, /) -> Symbols:
    """Return the symbols, (n,). ValueError unless their bytes are there."""
    commonest, highest = reader.byte(), reader.byte()
    if highest < commonest:
        raise damaged(f"the commonest symbol is {commonest}, the highest {highest}")
    side = reader.varint("the side of an image", at_most=layout.length) if layout.may_be_images else 0
    if not layout.is_side(side):
        raise damaged(f"a row of {layout.length} values holds no images of side {side}")
    values = np.zeros(layout.n_values, np.int64)
    # A copy can be written to, as numba has compiled it for writing.
    data = reader.array()[reader.position :].copy()
    limits = (-commonest, highest - commonest)
    end = _code(values, layout.with_side(side), limits, data, 0, decodes=True)
    if end < 0:
        raise damaged("a context code does not fit its symbols")
    reader.position += end
    return (values + commonest).astype(np.uint8)


def _encode(values: NDArray[np.int64], layout: Layout, limits: tuple[int, int], room: int) -> bytes | None:
    if room <= 0:
        return None
    data = np.zeros(room, np.uint8)
    end = _code(values, layout, limits, data, 0, decodes=False)
    return None if end < 0 else data[:end].tobytes()


def _code(
    values: NDArray[np.int64],
    layout: Layout,
    limits: tuple[int, int],
    data: NDArray[np.uint8],
    position: int,
    *,
    decodes: bool,
) -> int:
    """Write the values into `data`, or fill them from it; return where the code ends, or -1."""
    from effbench.codec import context_models as contexts

    geometry = np.array([layout.n_rows, layout.length, layout.width, layout.plane], np.int64)
    models = contexts.fresh_models(layout.n_rows, layout.length, layout.plane, max(-limits[0], limits[1]))
    bounds = np.array(limits, np.int64)
    return int(contexts.code_values(values, geometry, bounds, data, position, len(data), decodes, models))
