"""A map's values in compiled loops: float32, or bfloat16 as its bits in uint16, which numba has no type for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

Values = NDArray[Any]


def read(value: Any) -> Any:
    """Return a value of a map as float32."""
    raise NotImplementedError("in compiled code only")


def written(value: Any, maps: Values) -> Any:
    """Return a float32 as `maps` holds it: rounded to the nearest, ties to even."""
    raise NotImplementedError("in compiled code only")


@overload(read)
def _read(value: Any) -> Any:
    def from_bfloat16(value: Any) -> Any:
        return np.uint32(np.uint32(value) << np.uint32(16)).view(np.float32)

    def as_it_is(value: Any) -> Any:
        return value

    return from_bfloat16 if value == types.uint16 else as_it_is


@overload(written)
def _written(value: Any, maps: Any) -> Any:
    def to_bfloat16(value: Any, maps: Any) -> Any:
        bits = np.float32(value).view(np.uint32)
        odd = (bits >> np.uint32(16)) & np.uint32(1)
        # A NaN stays one: those that come of bfloat16 maps have nothing in their low bits that could overflow.
        return np.uint16((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))

    def as_it_is(value: Any, maps: Any) -> Any:
        return np.float32(value)

    return to_bfloat16 if maps.dtype == types.uint16 else as_it_is
