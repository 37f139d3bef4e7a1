"""The axes of a figure of curves: their scales, units and words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from effbench.analysis.costs import cost_words
from effbench.analysis.curve import Curve
from effbench.analysis.words import quality_title, scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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


def _scale_logarithmically(ax: Axes, direction: Literal["x", "y"], *, decades: float) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    ax.set(**{f"{direction}scale": "log"})
    axis = ax.xaxis if direction == "x" else ax.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 3 else (1.0,)))
    axis.set_minor_formatter(NullFormatter())
