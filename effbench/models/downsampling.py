"""Where the layers stand that halve the side: early, evenly, late, or after layers that are named."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Literal, get_args

Placement = Literal["early", "even", "late"]


def pooling_layers(pooling: str | int | Iterable[int], /, *, n_layers: int, n_poolings: int) -> tuple[int, ...]:
    """Return the numbers (from 1) of the layers after which a pooling stands, ascending.

    >>> [pooling_layers(where, n_layers=6, n_poolings=2) for where in ("early", "even", "late", "1-3")]
    [(1, 2), (2, 4), (5, 6), (1, 3)]
    """
    if pooling not in get_args(Placement):
        return _explicit_layers(pooling, n_layers=n_layers)
    if isinstance(n_poolings, bool) or not isinstance(n_poolings, int) or not 0 <= n_poolings <= n_layers:
        raise ValueError(f"n_poolings must be an integer from 0 to {n_layers} (the layers), got {n_poolings!r}")
    numbers = range(1, n_poolings + 1)
    match pooling:
        case "early":
            return tuple(numbers)
        case "late":
            return tuple(n_layers - n_poolings + number for number in numbers)
        case _:
            # ceil(number × n_layers / (n_poolings + 1)) in integers: distinct even when every layer is pooled.
            return tuple(-(-number * n_layers // (n_poolings + 1)) for number in numbers)


def _explicit_layers(pooling: str | int | Iterable[int], *, n_layers: int) -> tuple[int, ...]:
    """Read layer numbers from "1-3", 3 or [1, 3]. ValueError if they are not ascending numbers of layers."""
    if isinstance(pooling, str):
        numbers = tuple(int(part) if part.isdecimal() else 0 for part in pooling.split("-"))
    else:
        numbers = (pooling,) if isinstance(pooling, int) else tuple(pooling)
    ascending = all(layer < following for layer, following in pairwise(numbers))
    are_whole = all(isinstance(number, int) for number in numbers)
    if not numbers or not are_whole or not ascending or numbers[0] < 1 or numbers[-1] > n_layers:
        raise ValueError(
            f"pooling must be {', '.join(get_args(Placement))} or ascending layer numbers from 1 to {n_layers}, "
            f"as in 1-3; got {pooling!r}"
        )
    return numbers


def sides_of(poolings: tuple[int, ...], input_side: int, /, *, n_layers: int) -> list[int]:
    """Return the side of the map before each of `n_layers` and after the last. ValueError if a pooling has no map.

    >>> sides_of((2, 4), 28, n_layers=6)
    [28, 28, 14, 14, 7, 7, 7]
    """
    sides = [input_side]
    for layer in range(1, n_layers + 1):
        if layer in poolings and sides[-1] < 2:
            raise ValueError(
                f"the pooling after layer {layer} would leave nothing: at input_side {input_side} the map there has "
                f"side {sides[-1]}; give a larger input or fewer poolings"
            )
        sides.append(sides[-1] // 2 if layer in poolings else sides[-1])
    return sides
