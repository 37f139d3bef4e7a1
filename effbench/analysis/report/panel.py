"""The panels of the report as plain numbers: what a template draws. No text in it is markup."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from effbench.analysis.curves.curve import Curve
from effbench.analysis.report.labels import Label
from effbench.analysis.report.scale import Scale

WIDTH, HEIGHT = 480, 330
LEFT, RIGHT, TOP, BOTTOM = 52, 468, 10, 284
"""The pixels between which values lie."""
_WIDE = 10.0
"""From this ratio of the largest cost to the smallest on the axis is logarithmic, as in `figure_axes`."""
PageOf = Callable[[Sequence[str]], str | None]
"""Returns the address of a page that shows the runs of some keys; None where there is none."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A point of the figure, or a single run of it."""

    x: float
    y: float
    kind: str
    """front, dominated, reference, control, seed, or several (of a point that has moved several axes)."""
    colour: int
    """The number of a colour."""
    shape: str
    """One of matplotlib's letters for markers."""
    said: str
    """What is shown where the pointer is over it."""
    page: str | None = None
    """Where a click leads."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the figure."""

    corners: Sequence[tuple[float, float]]
    colour: int = 0
    kind: str = "line"
    """line, dashed, behind (wide and grey), limit (black, dashed) or level (grey)."""
    said: str = ""
    """What is shown where the pointer is over it."""

    @property
    def points(self) -> str:
        """Those of a polyline."""
        return " ".join(f"{x:g},{y:g}" for x, y in self.corners)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the legend says of a series."""

    name: str
    colour: int = 0
    shape: str = ""
    """Of its marks; empty for a line without marks."""
    kind: str = "front"
    """As of marks, or of lines where there is no shape."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture with two axes, such as a quality against a cost."""

    title: str
    described: str
    """What is seen, for those who don't see it."""
    x_title: str
    y_title: str
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    lines: Sequence[Line]
    marks: Sequence[Mark]
    bars: Sequence[tuple[float, float, float]] = ()
    """(x, from y, to y) of ± a standard deviation, or of an interval."""
    labels: Sequence[Label] = ()
    limits: Sequence[float] = ()
    """The y of lines from side to side, as of the tolerance."""
    limit_said: str = ""
    band: tuple[float, float] | None = None
    """From which x to which the saturation point's interval goes."""
    ring: tuple[float, float] | None = None
    legend: Sequence[Entry] = ()
    alike: str = ""
    """Costs in proportion to this one, whose panels would look the same."""


def scales_of(curve: Curve, controls: Curve | None, tolerance: float, /) -> tuple[Scale, Scale]:
    """Return the axes of cost and quality, with room for the points, single runs, controls and the tolerance."""
    curves = [curve] if controls is None else [curve, controls]
    costs, values = (np.concatenate([getattr(one, name) for one in curves]) for name in ("costs", "values"))
    values = np.concatenate([values, of_runs(curve, curve.quality_column)])
    costs = np.concatenate([costs, of_runs(curve, curve.cost)])
    limits = curve.values[curve.references] - curve.sign * tolerance
    low, high = float(costs.min()), float(costs.max())
    values = np.concatenate([values, limits])
    is_wide = low > 0 and high > _WIDE * low
    return (
        Scale.around(low, high, start=LEFT, end=RIGHT, is_logarithmic=is_wide),
        Scale.around(float(values.min()), float(values.max()), start=BOTTOM, end=TOP),
    )


def of_runs(curve: Curve, column: str, /) -> NDArray[np.float64]:
    """Return a column of the runs that are compared: (n_pairs,)."""
    return np.asarray(curve.runs[column], dtype=np.float64)[curve.pairs.runs]
