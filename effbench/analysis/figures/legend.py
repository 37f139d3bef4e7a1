"""The legend: where it covers neither points nor lines; where there is no such place, room is made for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from effbench.analysis.figures.names import shown_name
from effbench.analysis.figures.placement import Box, covered, pixels_per_point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend

_MOST_ENTRIES = 14
_STYLE: dict[str, Any] = {"frameon": True, "framealpha": 1.0, "edgecolor": "0.85"}
_PLACES = [(right, top) for top in (0.0, 1.0, 0.5, 0.25, 0.75) for right in (1.0, 0.0, 0.5, 0.25, 0.75)]
"""Where it is tried, as shares of the free width and height: the corners below first."""
_MARKER = 0.1
"""How large a mark is in the legend, beside itself in the figure, for each point of the text's size."""
_GROWTH, _MOST_GROWTHS = 0.12, 8
"""By how much the axes reach farther down at a time, and how often."""


@dataclass(frozen=True)
class Entry:
    """A line of the legend."""

    handle: Any
    """A matplotlib artist."""
    text: str
    is_series: bool = False
    """Whether it is one of many, which may be left out where there is no room for all."""


def unique_entries(entries: Sequence[Entry], /) -> list[Entry]:
    """Return entries each once, by their text: series first, then what filled and hollow marks mean."""
    found: dict[str, Entry] = {}
    for entry in entries:
        found.setdefault(entry.text, entry)
    first = ("Pareto front", "dominated points")
    return sorted(found.values(), key=lambda entry: (not entry.is_series, *(entry.text != text for text in first)))


def write_legend(owner: Any, entries: Sequence[Entry], /, *, fontsize: float, **options: Any) -> Legend:
    """Give axes or a figure a legend whose text is what it is: no markup, and nothing that is left out for its name."""
    legend: Legend = owner.legend(
        [entry.handle for entry in entries],
        ["entry"] * len(entries),
        fontsize=fontsize,
        markerscale=_MARKER * fontsize,
        **_STYLE,
        **options,
    )
    for text, entry in zip(legend.get_texts(), entries, strict=True):
        text.set_parse_math(False)
        text.set_text(shown_name(entry.text))
    return legend


def place_legend(
    ax: Axes, entries: Sequence[Entry], /, *, obstacles: Callable[[], Sequence[Box]], fontsize: float
) -> Box:
    """Write a legend where it covers nothing. Returns its box.

    obstacles: gives what it may not cover; it is asked again when the axes have been made higher for the legend. Where
    that does not help it stands below the axes.
    """
    legend = write_legend(ax, _few(entries), fontsize=fontsize, loc="lower right", borderaxespad=0.0)
    frame, extent = ax.get_window_extent(), legend.get_window_extent()
    pad = 0.5 * fontsize * pixels_per_point(ax)
    boxes = [_box_at(frame, (extent.width, extent.height), pad, *place) for place in _PLACES]
    limits = ax.get_ylim()
    for _ in range(_MOST_GROWTHS if boxes[0][0] > frame.x0 and extent.height < frame.height else 0):
        found = obstacles()
        amounts = [covered(box, found) for box in boxes]
        if min(amounts) == 0:
            best = boxes[int(np.argmin(amounts))]
            legend.set_loc(tuple(ax.transAxes.inverted().transform(best[:2])))
            return best
        _make_room(ax)
    ax.set_ylim(limits)
    below = frame.y0 - 4.5 * fontsize * pixels_per_point(ax) - extent.height
    legend.set_loc(tuple(ax.transAxes.inverted().transform((frame.x0, below))))
    return frame.x0, below, frame.x0 + extent.width, below + extent.height


def _few(entries: Sequence[Entry]) -> list[Entry]:
    """Return as many entries as axes have room for: of many series the first."""
    n_left_out = len(entries) - _MOST_ENTRIES
    series = [entry for entry in entries if entry.is_series]
    if n_left_out <= 0 or n_left_out >= len(series):
        return list(entries)
    kept = series[: len(series) - n_left_out - 1]
    more = Entry(_nothing(), f"… and {len(series) - len(kept)} more")
    return [*kept, more, *(entry for entry in entries if not entry.is_series)]


def _box_at(frame: Any, size: tuple[float, float], pad: float, right: float, top: float) -> Box:
    width, height = size
    left = frame.x0 + pad + right * (frame.width - 2 * pad - width)
    bottom = frame.y0 + pad + top * (frame.height - 2 * pad - height)
    return left, bottom, left + width, bottom + height


def _make_room(ax: Axes) -> None:
    """Have the axes reach farther down, so that nothing is there."""
    low, high = ax.transAxes.transform((0, 0)), ax.transAxes.transform((0, 1))
    lower = low[1] - _GROWTH * (high[1] - low[1])
    bottom = ax.transData.inverted().transform((low[0], lower))[1]
    ax.set_ylim(bottom=float(bottom))


def _nothing() -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="none")
