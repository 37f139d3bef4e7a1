"""What refining a sweep adds to its grid: more points on each axis's own curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from effbench.plan.bisection import Scale
from effbench.plan.point import Point


@dataclass(frozen=True, kw_only=True, eq=False)
class AxisCurve:
    """An axis's own curve in a grid, of one configuration: the other axes at one value each."""

    axis: str
    name: str
    """What tells it from others, as in "model=lenet_5, prune"."""
    scale: Scale
    references: tuple[Point, ...]
    """Those of its points, with every seed."""
    points: Mapping[float, tuple[Point, ...]]
    """Those of the grid, with every seed, by the axis's value."""
    make: Callable[[float], tuple[Point, ...]]
    """Returns the points at another value, with every seed. ValueError where the configuration refuses it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Refinement:
    """How a sweep is refined once its grid is done."""

    most: int = 0
    """How many more values each curve may have; 0: the sweep is its grid."""
    curves: tuple[AxisCurve, ...] = ()
    unordered: tuple[str, ...] = field(default=())
    """The axes of the sweep that are not refined: they have no order, or move no cost that is counted."""

    @property
    def most_runs(self) -> int:
        """The most runs that refining adds."""
        return self.most * sum(len(curve.references) for curve in self.curves)
