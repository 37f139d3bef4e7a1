"""Coloured cells in rows and columns, as plain numbers: what a template draws. No text in them is markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from effbench.analysis.figures.heat_colours import colour_at, text_on
from effbench.analysis.figures.names import shown_name
from effbench.analysis.report.labels import text_width

WIDTH = 480
_RIGHT, _TOP = 470, 22
_LONGEST = 24
"""Letters of a name beside a row or below a column."""
_GROWN = 1.2
"""By which letters are larger on a phone."""
_LINE = 13.0
_HEIGHTS = ((12, 26.0), (24, 18.0), (60, 13.0))
"""How high a row is, where there are no more rows than that."""
_LEAST_HEIGHT = 7.0
_N_COLOURS = 24


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a cell holds."""

    text: str
    said: str
    """What is shown where the pointer is over it."""
    share: float | None
    """Of the darkest colour; None where there is nothing."""
    is_framed: bool = False
    page: str | None = None
    """Where a click leads."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A content at its place, in pixels."""

    content: Content
    x: float
    y: float
    fill: str
    ink: str
    """black or white."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """A picture of cells."""

    title: str
    described: str
    note: str
    x_title: str
    y_title: str
    key_title: str
    key_ends: tuple[str, str]
    """What the lightest and the darkest colour stand for."""
    contents: Sequence[Sequence[Content]]
    """By rows."""
    across: Sequence[str]
    down: Sequence[str]
    edges: Sequence[tuple[tuple[int, int], tuple[int, int]]] = ()
    """The ends of the lines of an outline, by cells' corners."""

    @cached_property
    def left(self) -> float:
        """Where cells begin."""
        return 10 + _GROWN * max(text_width(_shown(name)) for name in self.down)

    @cached_property
    def width(self) -> float:
        """Of a cell."""
        return (_RIGHT - self.left) / len(self.across)

    @cached_property
    def row_height(self) -> float:
        """Of a cell."""
        return next((height for most, height in _HEIGHTS if len(self.down) <= most), _LEAST_HEIGHT)

    @cached_property
    def bottom(self) -> float:
        """Where cells end."""
        return _TOP + self.row_height * len(self.down)

    @cached_property
    def top(self) -> float:
        """Where the first row begins."""
        return _TOP

    @cached_property
    def are_upright(self) -> bool:
        """Whether names of columns are written upwards, having no room beside each other."""
        return max(_GROWN * text_width(_shown(name)) for name in self.across) > self.width - 3

    @cached_property
    def below(self) -> float:
        """Where what is written below the names of columns begins."""
        return self.bottom + (
            10 + _GROWN * max(text_width(_shown(name)) for name in self.across) if self.are_upright else 20
        )

    @cached_property
    def has_texts(self) -> bool:
        """Whether what cells hold has room in all of them."""
        widest = max(text_width(content.text) for row in self.contents for content in row)
        return _GROWN * widest <= self.width - 3 and self.row_height >= _LINE

    @cached_property
    def columns(self) -> list[tuple[float, str]]:
        """Where the names of columns stand; not all where there is no room."""
        every = max(1, int(-(-_LINE // self.width))) if self.are_upright else 1
        return [
            (self.left + self.width * (n + 0.5), _shown(name)) for n, name in enumerate(self.across) if n % every == 0
        ]

    @cached_property
    def rows(self) -> list[tuple[float, str]]:
        """Where the names of rows stand; not all where there is no room."""
        every = max(1, int(-(-_LINE // self.row_height)))
        return [
            (_TOP + self.row_height * (n + 0.5), _shown(name)) for n, name in enumerate(self.down) if n % every == 0
        ]

    @cached_property
    def cells(self) -> list[Cell]:
        """All cells at their places."""
        return [
            Cell(
                content=content,
                x=self.left + self.width * column,
                y=_TOP + self.row_height * row,
                fill="" if content.share is None else colour_at(content.share),
                ink="" if content.share is None else text_on(colour_at(content.share)),
            )
            for row, contents in enumerate(self.contents)
            for column, content in enumerate(contents)
        ]

    @cached_property
    def outline(self) -> str:
        """The outline as a path."""
        places = [
            tuple((self.left + self.width * x, _TOP + self.row_height * y) for x, y in ends) for ends in self.edges
        ]
        return "".join(f"M{x:.1f} {y:.1f}L{right:.1f} {low:.1f}" for (x, y), (right, low) in places)

    @cached_property
    def key(self) -> list[tuple[float, str]]:
        """Where each colour of the key begins, from the lightest."""
        width = self.key_width / _N_COLOURS
        return [(self.left + width * n, colour_at(n / (_N_COLOURS - 1))) for n in range(_N_COLOURS)]

    @cached_property
    def key_width(self) -> float:
        """Of the key."""
        return _RIGHT - self.left


def _shown(name: str) -> str:
    return shown_name(name, longest=_LONGEST)
