"""Numbers of the symbols 0..255 that occur, each by its step from the last one's: neighbours have nearly the same.

For each symbol: ``0`` its number is the last one's; ``10s`` one more (s = 0) or one less; ``110`` and an Elias gamma
number: so many symbols that don't occur come first; ``111`` and the number itself, in so many bits as the table says.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from effbench.codec.wire import Reader, damaged

Symbols = NDArray[np.uint8]
N_SYMBOLS = 256


def step_bits(number: int, last: int, n_unused: int, /, *, width: int) -> str:
    """Return a number after `n_unused` symbols that don't occur, as a text of 0 and 1."""
    skipped = "110" + _gamma_bits(n_unused) if n_unused else ""
    step = number - last
    return skipped + ("0" if step == 0 else "100" if step == 1 else "101" if step == -1 else f"111{number:0{width}b}")


def read_step(bits: Bits, symbol: int, last: int, /, *, width: int) -> tuple[int, int]:
    """Return the next symbol that occurs, from `symbol` on, and its number; unchecked: the symbol may be over 255."""
    while symbol < N_SYMBOLS:
        if bits.next(1) == 0:
            return symbol, last
        if bits.next(1) == 0:
            return symbol, last + (-1 if bits.next(1) else 1)
        if bits.next(1) == 1:
            return symbol, bits.next(width)
        symbol += bits.gamma()
    return symbol, last


def _gamma_bits(number: int, /) -> str:
    """Return a positive integer as its Elias gamma code: as many zeros as bits follow its leading one, then it."""
    return "0" * (number.bit_length() - 1) + f"{number:b}"


def to_bytes(bits: str, /) -> bytes:
    """Return a text of 0 and 1 as whole bytes, from the highest bit down, zeros at the end."""
    n_bytes = -(-len(bits) // 8)
    return int(bits.ljust(8 * n_bytes, "0") or "0", 2).to_bytes(n_bytes, "big")


class Bits:
    """The bits of a reader, taken byte by byte."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.buffer = self.n_buffered = 0

    def next(self, n_bits: int) -> int:
        """Return the next bits, at most eight, as a number."""
        while self.n_buffered < n_bits:
            self.buffer = (self.buffer & 0xFF) << 8 | self.reader.byte()
            self.n_buffered += 8
        self.n_buffered -= n_bits
        return self.buffer >> self.n_buffered & (1 << n_bits) - 1

    def gamma(self) -> int:
        """Return the next Elias gamma number, below 512."""
        n_more = 0
        while self.next(1) == 0:
            n_more += 1
            if n_more > 8:
                raise damaged("a table of symbols leaves out more than there are")
        return 1 << n_more | self.next(n_more)
