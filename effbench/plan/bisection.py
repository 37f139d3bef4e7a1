"""Where to look next for the value at which an axis stops being free: bisection on the axis's own scale.

Pure: the next value follows from what is known of other values, and from nothing else, so that a search that was
stopped goes on where it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

CLOSE = 0.01
"""A bracket narrower than this share of what remains, from its acceptable end to the axis's limit, is not split."""
_DIGITS = 6
"""Significant ones of a value: as many as labels of points show."""
_FEW_DIGITS = 3
"""Those of a geometric mean, where they shift it by less than `_SHIFT` of the bracket."""
_SHIFT = 0.02


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The numbers that an axis can have, from what compresses least to what compresses most."""

    compresses_up: bool
    """Whether larger values compress more."""
    weakest: float | None
    """Where compression costs nothing: the neutral value, or the least compressing one; None where nobody knows."""
    limit: float | None
    """The most compressing end of the range, whether or not it can be had; None where there is no end."""
    is_whole: bool
    """Whether the values are whole numbers."""
    is_geometric: bool
    """Whether the middle of two values is their geometric mean: a step is a ratio, as of widths in bits."""
    first: float | None
    """The least compressing value of the range, outside of which the weakest may lie; None where there is no end."""
    allows: Callable[[float], bool]
    """Whether the axis can have a value."""

    def __post_init__(self) -> None:
        assert self.weakest is None or self.limit is None or self.strength(self.limit) > self.strength(self.weakest)

    def strength(self, value: float, /) -> float:
        """Return by what values are ordered: the larger, the more is compressed."""
        return value if self.compresses_up else -value


def next_value(scale: Scale, known: Mapping[float, bool], /, *, taken: Collection[float] = ()) -> float | None:
    """Return the value that says most of where the axis stops being free; None where none is left.

    known: whether values are acceptable. taken: values of which it is not known, that are not to be tried again.
    The value splits the bracket between the last acceptable value and the first that is not. Where the most compressing
    value still is acceptable it takes half of what remains to the axis's limit (without a limit, the double), as it
    does from the weakest value where none that is known compresses; where none is acceptable, it lies between the
    weakest value and the first. A bracket narrower than `CLOSE` is not split, nor one between whole numbers that follow
    each other. Of a curve that is not monotone the last acceptable value counts, as it does for the saturation point.

    >>> prune = Scale(compresses_up=True, weakest=0, limit=1, is_whole=False, is_geometric=False, first=None,
    ...               allows=lambda value: 0 <= value < 1)
    >>> next_value(prune, {0.1: True, 0.5: True, 0.9: False})
    0.7
    >>> next_value(prune, {0.5: True, 0.9: True}), next_value(prune, {0.5: False, 0.9: False})
    (0.95, 0.25)
    """
    weakest = scale.weakest
    inside = [v for v in known if weakest is None or scale.strength(v) >= scale.strength(weakest)]
    good = max((value for value in inside if known[value]), key=scale.strength, default=weakest)
    if not known or good is None:
        return None
    beyond = [value for value in inside if scale.strength(value) > scale.strength(good)]
    bad = min(beyond, key=scale.strength, default=None)
    value = split(scale, good, bad)
    return None if value is None or value in known or value in taken else value


def split(scale: Scale, good: float, bad: float | None, /) -> float | None:
    """Return the value between two, the less compressing one first, or (None) between one and the axis's limit.

    None where they are closer than `CLOSE`, where there is no value between them, and where the axis can't have it.
    """
    if bad is None:
        value = _beyond(scale, good)
    elif abs(bad - good) < CLOSE * abs(bad - good if scale.limit is None else scale.limit - good):
        value = None
    else:
        value = _between(scale, good, bad)
    return value if value is not None and scale.allows(value) else None


def _beyond(scale: Scale, good: float) -> float | None:
    """Return the value half way from the last acceptable one to the axis's limit."""
    if scale.limit is None:
        return 2 * good if good > 0 and scale.compresses_up else good + 1 if scale.compresses_up else None
    value = _between(scale, good, scale.limit)
    return scale.limit if value is None and scale.is_whole and good != scale.limit else value


def _between(scale: Scale, good: float, end: float) -> float | None:
    """Return the middle of two values; None where there is no other value between them."""
    low, high = min(good, end), max(good, end)
    is_ratio = scale.is_geometric and low > 0
    middle = math.sqrt(low) * math.sqrt(high) if is_ratio else (low + high) / 2
    if scale.first is not None and scale.strength(middle) < scale.strength(scale.first):
        middle = scale.first
    if scale.is_whole:
        value: float = min(max(math.floor(middle + 0.5), math.floor(low) + 1), math.ceil(high) - 1)
    else:
        value = _rounded(middle, _DIGITS)
        short = _rounded(middle, _FEW_DIGITS)
        if is_ratio and abs(math.log(short / middle)) < _SHIFT * math.log(high / low):
            value = short
    return value if low < value < high else None


def _rounded(value: float, n_digits: int) -> float:
    return float(f"{value:.{n_digits}g}")
