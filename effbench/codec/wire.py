"""Bytes that go out and come in: variable-length integers, encodings of known size, a reader that never overruns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def damaged(reason: str) -> ValueError:
    """Return the error of a file that can't be read, with its reason in one line."""
    return ValueError(f"the file is damaged or was not made by effbench.encode: {reason}")


@dataclass(frozen=True)
class Encoding:
    """Bytes whose number is known before they are written, so that only the smallest of several is written."""

    n_bytes: int
    write: Callable[[], bytes]

    def __add__(self, other: Encoding) -> Encoding:
        return Encoding(self.n_bytes + other.n_bytes, lambda: self.write() + other.write())


def literal(data: bytes, /) -> Encoding:
    """Return the encoding of bytes that exist already."""
    return Encoding(len(data), lambda: data)


def smallest(*encodings: Encoding) -> Encoding:
    """Return the encoding of fewest bytes; of equals the first."""
    return min(encodings, key=lambda encoding: encoding.n_bytes)


def varint(value: int, /) -> bytes:
    """Return a non-negative integer in groups of seven bits, lowest first (LEB128)."""
    assert value >= 0, value
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def signed_varint(value: int, /) -> bytes:
    """Return an integer of either sign as a varint: 0, -1, 1, -2, ... become 0, 1, 2, 3, ..."""
    return varint(2 * value if value >= 0 else -2 * value - 1)


class Reader:
    """A position in bytes of unknown origin. Whatever is asked of it beyond their end is a ValueError."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    @property
    def n_left(self) -> int:
        """Bytes that were not read yet."""
        return len(self.data) - self.position

    def array(self) -> NDArray[np.uint8]:
        """Return all the bytes, (n_bytes,), read-only and not copied."""
        return np.frombuffer(self.data, np.uint8)

    def take(self, n_bytes: int, /) -> bytes:
        """Return the next bytes."""
        if not 0 <= n_bytes <= self.n_left:
            raise damaged(f"{n_bytes} more bytes are needed at byte {self.position}, {self.n_left} are left")
        self.position += n_bytes
        return self.data[self.position - n_bytes : self.position]

    def byte(self) -> int:
        """Return the next byte as a number."""
        return self.take(1)[0]

    def peek(self) -> int:
        """Return the next byte as a number and leave it to be read."""
        value = self.byte()
        self.position -= 1
        return value

    def varint(self, what: str, /, *, at_most: int) -> int:
        """Return the next unsigned integer; `what` names it in the error when it is more than `at_most`."""
        value = 0
        for shift in range(0, 70, 7):
            group = self.byte()
            value |= (group & 0x7F) << shift
            if group < 0x80:
                break
        else:
            raise damaged(f"{what} has no end")
        if value > at_most:
            raise damaged(f"{what} is {value}, at most {at_most} is possible")
        return value

    def signed_varint(self, what: str, /) -> int:
        """Return the next integer of either sign, within 64 bits."""
        value = self.varint(what, at_most=2**64 - 1)
        return value >> 1 if value & 1 == 0 else -(value >> 1) - 1
