"""The step at which a file has a length: the longer, the finer the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from effbench.compression.even_grid import entropy_bits, least_step, nearest_multiples

WITHIN = 0.005
"""How far from the length a trial may be, as a share of it."""
_MOST_TRIALS = 16
_STEEPNESS = -0.35
"""Of the logarithm of the length, an octave, before two trials say what it is."""

Bounds = tuple[float, float]
"""Logarithms (to base 2) of a step that is too fine and of one that is too coarse."""


def bounds_of(values: Sequence[Tensor], /) -> Bounds:
    """Return the least step at which all values are multiples that can be, and one at which all are zero."""
    low = max(least_step(value) for value in values)
    high = max(2 * float(value.abs().max()) for value in values)
    return math.log2(low), math.log2(max(high, 2 * low))


def step_by_entropy(values: Sequence[Tensor], n_bytes: float, /) -> float:
    """Return the step at which the nearest multiples of each of `values` have the entropy of so many bytes in all."""
    low, high = bounds_of(values)
    while high - low > 0.02:
        middle = (low + high) / 2
        length = sum(entropy_bits(nearest_multiples(value, 2.0**middle)) for value in values) / 8
        low, high = (middle, high) if length > n_bytes else (low, middle)
    return math.exp2((low + high) / 2)


def step_of_length(
    length_at: Callable[[float], int], wanted: float, /, *, first: float, bounds: Bounds, least: int
) -> float:
    """Return the step at which `length_at(step)` is the wanted length, or comes nearest to it.

    An octave is a bit a weight at high rates and less at low ones: a secant in octaves, kept between the two steps that
    are known to be too fine and too coarse. first: a guess. least: the length at the coarsest.
    """
    low, high = bounds
    place = math.log2(first)
    tried: dict[float, float] = {}
    while len(tried) < _MOST_TRIALS and place not in tried:
        length = length_at(2.0**place)
        tried[place] = math.log(max(length - least, 1) / max(wanted - least, 1))
        if abs(length - wanted) <= WITHIN * wanted:
            break
        low, high = (place, high) if length > wanted else (low, place)
        place = _next_place(tried, low, high)
    return math.exp2(min(tried, key=lambda place: abs(tried[place])))


def _next_place(tried: Mapping[float, float], low: float, high: float) -> float:
    """Return where a secant through the two nearest places is zero, within the bounds; their middle where it is not."""
    middle = (low + high) / 2
    (place, value), *others = sorted(tried.items(), key=lambda pair: abs(pair[1]))
    slope = (others[0][1] - value) / (others[0][0] - place) if others else _STEEPNESS
    if slope >= 0:
        return middle
    aimed = place - value / slope
    return aimed if low < aimed < high else middle


def fewest(length_at: Callable[[int], int], wanted: float, /, *, most: int) -> int:
    """Return the least number, 0 to `most`, at which `length_at(number)` is at most the wanted length.

    The length falls as the number rises; one that is within `WITHIN` below it is taken at once. `most` where none is.
    """
    low, high = -1, most
    middle = 0
    while high - low > 1:
        length = length_at(middle)
        low, high = (middle, high) if length > wanted else (low, middle)
        if (1 - WITHIN) * wanted <= length <= wanted:
            break
        middle = (low + high) // 2
    return high


def too_low(rate: float, least: int, n_weights: int, /) -> str:
    """Say that no file has so few bits a weight. least: its bytes with every weight zero."""
    return (
        f"rate={rate:g}: must be at least {math.ceil(8000 * least / n_weights) / 1000:g} here: so much the file takes "
        f"with every weight zero, in what is no weight ({least:,} bytes)"
    )
