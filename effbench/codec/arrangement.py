"""Where values lie beside each other: what the context coder takes for the neighbours of a weight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

_FEWEST_COLUMNS = 16
_NARROWEST = 3


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """Values in rows (one makes one output), planes (a channel of its input, a kernel) and lines of `width`."""

    n_rows: int
    length: int
    """Values in a row."""
    width: int = 1
    plane: int = 1
    """Values in a plane."""
    is_trellis: bool = False
    """Whether the values are codes of `compression.trellis`, whose machine runs down the columns."""
    may_be_images: bool = False
    """Whether a row may be a flattened stack of square images: see `sides`."""

    @classmethod
    def line(cls, n_values: int, /) -> Arrangement:
        """Return the arrangement of values of which only the order is known."""
        return cls(n_rows=n_values, length=1)

    @classmethod
    def of(cls, shape: Sequence[int], n_values: int, /) -> Arrangement:
        """Return the arrangement of a tensor's values: (n_out, n_in), (n_out, n_in, *kernel), or else a line."""
        if len(shape) < 2 or n_values == 0 or math.prod(shape) != n_values:
            return cls.line(n_values)
        length = n_values // shape[0]
        if len(shape) == 2:
            return cls(n_rows=shape[0], length=length, may_be_images=True)
        return cls(n_rows=shape[0], length=length, width=shape[-1], plane=math.prod(shape[2:]))

    @property
    def n_values(self) -> int:
        """Values in all."""
        return self.n_rows * self.length

    def with_side(self, side: int, /) -> Arrangement:
        """Return the arrangement of rows that are images of side x side; as it is for side 0."""
        return replace(self, width=side, plane=side * side) if side else self

    def is_side(self, side: int, /) -> bool:
        """Whether rows can be images of side x side (0: they are none)."""
        return side == 0 or (self.may_be_images and side * side <= self.length and self.length % (side * side) == 0)

    def first(self, n_values: int, /) -> Arrangement:
        """Return the arrangement of the first rows that have at least so many values, or of all."""
        return replace(self, n_rows=min(self.n_rows, -(-n_values // self.length)))

    def likely_sides(self, values: NDArray[np.int32], /) -> list[int]:
        """Return 0 and the two sides at whose distance values are most alike, the likeliest first.

        values: (n_values,), 0 the commonest. Alike are non-zero values in the same row, and where those are the most,
        values of the same sign.
        """
        if not self.may_be_images or self.length < _FEWEST_COLUMNS:
            return [0]
        rows = np.sign(values).reshape(self.n_rows, self.length).astype(np.int32)
        if 2 * np.count_nonzero(rows) < rows.size:
            rows = np.abs(rows)
        sides = [side for side in range(_NARROWEST, math.isqrt(self.length) + 1) if self.is_side(side)]
        alike = {side: int((rows[:, side:] * rows[:, :-side]).sum()) / (self.length - side) for side in sides}
        return [*sorted(sides, key=lambda side: -abs(alike[side]))[:2], 0]
