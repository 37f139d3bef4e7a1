"""Two axes at once: what each pair of their values loses, the other axes held where they compress least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis.contributions import moves_of
from effbench.analysis.curves.curve import Curve
from effbench.analysis.curves.series import axis_values
from effbench.analysis.definitions.choice import slack

_UNNAMED = "reference"
"""The value of an axis where neither a column nor a label says it: that of the reference."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LossGrid:
    """The points of a curve by the values of two axes, the least compressing ones first."""

    axes: tuple[str, str]
    """What goes across, and what goes down."""
    across: list[str]
    down: list[str]
    rows: NDArray[np.int64]
    """(n_down, n_across): of the curve; -1 where no run of that pair has finished."""
    losses: NDArray[np.float64]
    """(n_down, n_across): quality lost against the reference; NaN where no run has finished."""
    held: Mapping[str, str]
    """At which value each other axis stands."""

    round_off: NDArray[np.float64]
    """(n_down, n_across): by how much a loss may be above a tolerance and still be within it."""

    def within(self, tolerance: float, /) -> NDArray[np.bool_]:
        """Return which cells lose no more than a tolerance: (n_down, n_across)."""
        return np.asarray(np.nan_to_num(self.losses, nan=np.inf) <= tolerance + self.round_off)

    def edges(self, tolerance: float, /) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """Return the outline of the cells that lose no more than a tolerance: the ends of lines, by cells' corners."""
        inside = np.pad(self.within(tolerance), 1)
        upright = [((x, y), (x, y + 1)) for y, x in np.argwhere(inside[1:-1, :-1] != inside[1:-1, 1:]).tolist()]
        level = [((x, y), (x + 1, y)) for y, x in np.argwhere(inside[:-1, 1:-1] != inside[1:, 1:-1]).tolist()]
        return upright + level


def loss_grid(curve: Curve, axes: Sequence[str] | None = None, /) -> LossGrid:
    """Return the losses of a curve's points by two axes; `None` takes those of most values, that of more across.

    Other axes stand at the reference's value, or where no point has that, at the one whose points cost most; references
    are there in any case. Values are ordered from those that cost most, numbers by size. ValueError, in a line, where
    there are no two such axes.
    """
    found, values = moves_of(curve), axis_values(curve).replace("", _UNNAMED)
    chosen = _chosen(found.axes, axes, values)
    own = found.moved[:, [found.axes.index(name) for name in chosen]].any(axis=1)
    rows, held = np.flatnonzero(own) if own.any() else np.arange(len(curve)), {}
    for place, name in enumerate(found.axes):
        if name not in chosen:
            held[name] = _least(curve, values[name], rows, rows[~found.moved[rows, place]])
            rows = rows[values[name].to_numpy()[rows] == held[name]]
    rows = np.union1d(rows, curve.references[rows])
    across, down = (_ordered(values[name].iloc[rows], curve.costs[rows]) for name in chosen)
    by_pair = {pair: int(row) for pair, row in zip(_pairs(values, chosen, rows), rows, strict=True)}
    if len(by_pair) < len(rows):
        pairs = _pairs(values, chosen, rows)
        x, y = next(pair for pair in pairs if pairs.count(pair) > 1)
        raise ValueError(f"several points have {chosen[0]}={x}, {chosen[1]}={y}: select those of one recipe")
    numbers = np.array([by_pair.get((x, y), -1) for y, x in product(down, across)], dtype=np.int64)
    numbers = numbers.reshape(len(down), len(across))
    losses = np.where(numbers >= 0, curve.losses[numbers], np.nan)
    return LossGrid(
        axes=chosen, across=across, down=down, rows=numbers, losses=losses, held=held, round_off=slack(curve)[numbers]
    )


def has_grid(curve: Curve, /) -> bool:
    """Whether there are two axes, and in the grid of `loss_grid` points that have moved both."""
    moves = moves_of(curve)
    if len(moves.axes) < 2:
        return False
    grid = loss_grid(curve)
    across, down = (moves.moved[:, moves.axes.index(name)] for name in grid.axes)
    return bool((across & down)[grid.rows[grid.rows >= 0]].any())


def _chosen(known: Sequence[str], axes: Sequence[str] | None, values: pd.DataFrame) -> tuple[str, str]:
    there = f"those that vary: {', '.join(known) or 'none'}"
    if axes is None:
        if len(known) < 2:
            raise ValueError(f"a heat map needs two axes that vary over the points; {there}")
        first, second = sorted(known, key=lambda name: -len(set(values[name])))[:2]
        return first, second
    if isinstance(axes, str) or len(axes) != 2 or len(set(axes)) != 2:
        raise ValueError(f"axes={axes!r}: give two different ones, what goes across and what goes down; {there}")
    for name in axes:
        if name not in known:
            raise ValueError(f"axes: {name!r} does not vary over the points; {there}")
    return axes[0], axes[1]


def _least(curve: Curve, values: pd.Series, rows: NDArray[np.int64], neutral: NDArray[np.int64]) -> str:
    """Return the reference's value of an axis, else the one whose points cost most."""
    among = neutral if len(neutral) else rows
    return str(pd.Series(curve.costs[among]).groupby(values.iloc[among].to_numpy(), sort=True).mean().idxmax())


def _pairs(values: pd.DataFrame, chosen: tuple[str, str], rows: NDArray[np.int64]) -> list[tuple[str, str]]:
    x, y = (values[name].to_numpy()[rows] for name in chosen)
    return [(str(one), str(other)) for one, other in zip(x, y, strict=True)]


def _ordered(values: pd.Series, costs: NDArray[np.float64]) -> list[str]:
    """Return the different values from that whose points cost most; numbers by size, from the end that costs more."""
    means = pd.Series(costs).groupby(values.to_numpy(), sort=True).mean()
    by_cost = [str(name) for name in means.sort_values(ascending=False, kind="stable").index]
    named = [name for name in by_cost if name == _UNNAMED]
    others = [name for name in by_cost if name != _UNNAMED]
    try:
        numbers = sorted(others, key=float)
    except ValueError:
        return named + others
    grows = len(numbers) > 1 and means[numbers[0]] < means[numbers[-1]]
    return named + (numbers[::-1] if grows else numbers)
