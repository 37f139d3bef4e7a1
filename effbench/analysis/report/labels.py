"""Where names of points are written in the report's figure: beside their points, over nothing else, or nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from unicodedata import combining, east_asian_width

_HEIGHT, _LETTER = 13.0, 6.2
"""Of a line and of a letter of 11 pixels, generously; in pixels."""
_POINT, _RING = 6.0, 12.0
"""Half of what a point takes, and of one with a ring."""
_STEP = 4.0
"""Between the boxes along a line."""
_BESIDE = 2.0
"""Pixels at either end of a text, for its letters not to touch another one's."""
_LONGEST = 30
"""Letters of a name; the rest of a longer one is in the table."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle in pixels, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def touches(self, other: Box) -> bool:
        """Whether two rectangles have a pixel in common."""
        apart = self.right <= other.left or other.right <= self.left or self.bottom <= other.top
        return not (apart or other.bottom <= self.top)

    def holds(self, other: Box) -> bool:
        """Whether another rectangle lies within this one."""
        across = self.left <= other.left and other.right <= self.right
        return across and self.top <= other.top and other.bottom <= self.bottom


@dataclass(frozen=True, kw_only=True)
class Label:
    """A name, where it begins (`anchor` "start"), ends ("end") or has its middle, and its baseline."""

    x: float
    y: float
    anchor: str
    text: str


def place_labels(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    /,
    *,
    order: Sequence[int],
    frame: Box,
    ringed: int | None = None,
    lines: Sequence[Sequence[tuple[float, float]]] = (),
) -> list[Label]:
    """Return labels within `frame` that cover no point, no line and no other label; points come in `order`.

    ringed: a point with a ring about it, which is wider. lines: the corners of each. What has no room is left out: the
    table has every name.
    """
    sizes = [_RING if number == ringed else _POINT for number in range(len(points))]
    taken = [
        Box(left=x - size, top=y - size, right=x + size, bottom=y + size)
        for (x, y), size in zip(points, sizes, strict=True)
    ]
    taken += [box for corners in lines for ends in pairwise(corners) for box in _along(*ends)]
    labels = []
    for number in order:
        text = shortened(texts[number])
        for label, box in _places(*points[number], text, gap=sizes[number] + 2 + _BESIDE):
            if frame.holds(box) and not any(box.touches(other) for other in taken):
                labels.append(label)
                taken.append(box)
                break
    return labels


def _along(start: tuple[float, float], end: tuple[float, float]) -> Iterator[Box]:
    """Yield boxes that cover a straight line."""
    n_steps = int(max(abs(end[0] - start[0]), abs(end[1] - start[1])) / _STEP) + 1
    for step in range(n_steps + 1):
        x, y = (a + (b - a) * step / n_steps for a, b in zip(start, end, strict=True))
        yield Box(left=x - 1, top=y - 1, right=x + 1, bottom=y + 1)


def _places(x: float, y: float, text: str, *, gap: float) -> Iterator[tuple[Label, Box]]:
    width = text_width(text)
    for anchor, left, baseline in (
        ("start", x + gap, y + 4),
        ("end", x - gap - width, y + 4),
        ("middle", x - width / 2, y - gap - 3),
        ("middle", x - width / 2, y + gap + 10),
        ("start", x + gap, y - 8),
        ("start", x + gap, y + 16),
        ("end", x - gap - width, y - 8),
        ("end", x - gap - width, y + 16),
    ):
        at = {"start": left, "end": left + width, "middle": x}[anchor]
        top, bottom = baseline - _HEIGHT + 3, baseline + 3
        box = Box(left=left - _BESIDE, top=top, right=left + width + _BESIDE, bottom=bottom)
        yield Label(x=round(at, 1), y=round(baseline, 1), anchor=anchor, text=text), box


def shortened(text: str, /) -> str:
    """Return a name of at most 30 letters, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def text_width(text: str, /) -> float:
    """Return about how wide a text is, in pixels: a wide letter, such as a Chinese one, counts two."""
    cells = sum(0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1 for letter in text)
    return _LETTER * cells
