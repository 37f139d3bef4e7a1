"""Which columns of a table fit into a terminal: whole ones are left out, the least important first, nothing is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

GAP = 2
"""Cells between columns."""
_AXIS = 0.0
_CORE = 2
"""How many measured columns stand beside the axes at least; where they don't, rows are numbered."""
_LAST = 99.0
_RANKS = {"n_failed": 1.0, "size_bytes": 3.0, "size_ratio": 5.0, "macs_effective": 7.0, "macs": 8.0}
_RANKS |= {"n_seeds": 11.0, "params_nonzero": 14.0}
_NOT_MOVED = 20.0
"""Added to the rank of a cost that is the same in all rows."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column as it is shown."""

    name: str
    """In the table's file."""
    heading: str
    """Of up to three lines."""
    cells: tuple[str, ...]
    is_axis: bool = False
    """Whether it tells rows apart."""

    @property
    def width(self) -> int:
        """How many cells of a terminal it takes."""
        return max(map(cell_len, (*self.heading.split("\n"), *self.cells)))

    @property
    def title(self) -> str:
        """Its heading in one line."""
        return self.heading.replace("\n", " ")


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What of a table is shown."""

    columns: tuple[Column, ...]
    left_out: tuple[Column, ...] = ()
    names: tuple[str, ...] = ()
    """What its axes say of each row, where there is no room for them: the first column then numbers the rows."""


def fitted(columns: Sequence[Column], width: int, /, *, quality: str) -> Fitted:
    """Return as many columns as fit into a width, in their order; what a wider terminal shows, it shows as well.

    quality: the name of the quality. Axes are kept. Where they leave no room for two of what was measured, rows have
    numbers instead, and are named below the table.

    >>> columns = [Column(name="bits", heading="bits", cells=("8",), is_axis=True)]
    >>> columns += [Column(name=name, heading=name, cells=("1234",)) for name in ("macs", "accuracy", "size_bytes")]
    >>> [column.name for column in fitted(columns, 30, quality="accuracy").columns]
    ['bits', 'accuracy', 'size_bytes']
    """
    if _width(columns) <= width:
        return Fitted(columns=tuple(columns))
    axes = [column for column in columns if column.is_axis]
    ranked = sorted((c for c in columns if not c.is_axis), key=lambda column: _rank(column, columns, quality))
    core = ranked[:_CORE]
    names: tuple[str, ...] = ()
    first = axes
    if axes and _width([*axes, *core]) > width:
        rows = list(zip(*(column.cells for column in axes), strict=True))
        names = tuple(", ".join(f"{a.name}={text}" for a, text in zip(axes, row, strict=True)) for row in rows)
        first = [Column(name="", heading="", cells=tuple(str(number) for number in range(1, len(rows) + 1)))]
    n_kept = max((n for n in range(len(ranked) + 1) if _width([*first, *ranked[:n]]) <= width), default=0)
    kept = ranked[: max(n_kept, 1)]
    shown = (*first, *(column for column in columns if column in kept))
    return Fitted(columns=shown, left_out=tuple(c for c in ranked if c not in kept), names=names)


def _width(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + GAP * max(len(columns) - 1, 0)


def _rank(column: Column, columns: Sequence[Column], quality: str) -> float:
    """Return how late a column is looked at when room is given away; equal ones in their order."""
    name = column.name
    kind, _, engine = name.partition("/")
    if name in (quality, f"{quality}_val", f"{quality}_std"):
        return {quality: 2.0, f"{quality}_val": 4.0}.get(name, 10.0)
    if name.endswith("_reached"):
        return 1.5
    if name == "n_failed":
        return _RANKS[name]
    is_moved = len(set(column.cells)) > 1 or len(column.cells) < 2
    away = 0.0 if is_moved or name == "size_bytes" else _NOT_MOVED
    if kind in (quality, "verdict") and engine:
        return 11.0 if kind == quality else 13.0
    if kind in ("latency_ms", "speedup"):
        engines = dict.fromkeys(c.name.partition("/")[2] for c in columns if c.name.startswith("latency_ms/"))
        is_first = not engines or next(iter(engines)) == engine
        return away + {"speedup": 6.0, "latency_ms": 9.0}[kind] + (0.0 if is_first else 6.0)
    return away + _RANKS.get(name, _LAST)
