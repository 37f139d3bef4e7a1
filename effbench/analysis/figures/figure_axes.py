"""The axes of a figure of curves: their scales, units and words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from effbench.analysis.curves.costs import cost_words
from effbench.analysis.curves.curve import Curve
from effbench.analysis.curves.words import quality_title, scale
from effbench.analysis.figures.placement import pixels_per_point, text_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TICK_SIZE = 9.0
_WIDE = 10.0
"""From this ratio of the largest cost to the smallest on an axis is logarithmic."""
_WIDE_EXPONENTIAL = 4.0
"""The same for qualities that are exponentials: differences of their logarithms are what counts."""


def write_axes(ax: Axes, curves: Sequence[Curve], /) -> None:
    """Scale and name the axes for curves of one cost and one quality; each has at least one point."""
    from matplotlib.ticker import FuncFormatter

    curve = curves[0]
    low, high = min(float(one.costs[0]) for one in curves), max(float(one.costs[-1]) for one in curves)
    words = cost_words(curve.cost)
    size, unit = words.unit_for(low, high)
    ax.set_xlabel(words.title + (f" ({unit})" if unit else ""))
    ax.set_ylabel(quality_title(curve))
    if low > 0 and high > _WIDE * low:
        _scale_logarithmically(ax, "x", decades=np.log10(high / low))
    lowest, highest = min(float(one.values.min()) for one in curves), max(float(one.values.max()) for one in curves)
    is_exponential = curve.quality is not None and curve.quality.kind == "exp_of_ratio"
    if is_exponential and lowest > 0 and highest > _WIDE_EXPONENTIAL * lowest:
        _scale_logarithmically(ax, "y", decades=np.log10(highest / lowest))
    factor = scale(curve)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / size:.6g}"))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{factor * value:.6g}"))
    ax.margins(x=0.12, y=0.14)
    ax.grid(True, color="0.92", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=TICK_SIZE)
    ax.xaxis.label.set_fontsize(TICK_SIZE + 0.5)
    ax.yaxis.label.set_fontsize(TICK_SIZE + 0.5)


def thin_ticks(ax: Axes, /) -> None:
    """Leave out ticks until none of their labels touch. The limits of the axes must be final, and so their size."""
    for axis in ("x", "y"):
        for locator in _locators(ax, axis):
            if locator is not None:
                (ax.xaxis if axis == "x" else ax.yaxis).set_major_locator(locator)
            if not _labels_touch(ax, axis):
                break


def _locators(ax: Axes, axis: str) -> Iterator[Any]:
    """Yield what places ticks: what is there (None), then others that place fewer and fewer."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    yield None
    scale_name = ax.get_xscale() if axis == "x" else ax.get_yscale()
    if scale_name == "log":
        for subs in ((1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
            yield LogLocator(subs=subs)
        yield from (LogLocator(subs=(1.0,), numticks=n) for n in (6, 5, 4, 3))
    else:
        yield from (MaxNLocator(nbins=n, steps=[1, 2, 2.5, 5, 10]) for n in (7, 6, 5, 4, 3, 2))


def _labels_touch(ax: Axes, name: str) -> bool:
    """Whether labels of neighbouring ticks come closer than half a letter."""
    axis = ax.xaxis if name == "x" else ax.yaxis
    low, high = sorted(axis.get_view_interval())
    where = [place for place in axis.get_majorticklocs() if low <= place <= high]
    sizes = [text_size(ax, axis.get_major_formatter()(place, 0), fontsize=TICK_SIZE) for place in where]
    points = np.array([(place, ax.get_ylim()[0]) if name == "x" else (ax.get_xlim()[0], place) for place in where])
    if len(where) < 2:
        return False
    side = 0 if name == "x" else 1
    middles, halves = ax.transData.transform(points)[:, side], np.array([size[side] for size in sizes]) / 2
    order = np.argsort(middles)
    gaps = np.diff(middles[order]) - halves[order][1:] - halves[order][:-1]
    return bool(gaps.min() < 0.5 * TICK_SIZE * pixels_per_point(ax) * (1 if name == "x" else 0.3))


def _scale_logarithmically(ax: Axes, direction: Literal["x", "y"], *, decades: float) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    ax.set(**{f"{direction}scale": "log"})
    axis = ax.xaxis if direction == "x" else ax.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 3 else (1.0,)))
    axis.set_minor_formatter(NullFormatter())
