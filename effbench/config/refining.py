"""From a command to what may be added to its grid: each ordered axis's own curve, and what makes points on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from effbench.checks.secrets import hide_in_values
from effbench.config.axis import Axis, Value
from effbench.config.command_line import CommandLine, Composed
from effbench.config.points import Builder
from effbench.config.search_path import searching
from effbench.plan.bisection import Scale
from effbench.plan.point import Plan, Point
from effbench.plan.refinement import AxisCurve, Refinement

COUNTED = ("size_bytes", "macs_effective", "macs")
"""The costs that are there before latency is measured."""


def refinement_of(command: CommandLine, plan: Plan, most: int, /) -> Refinement:
    """Return what refining may add to a plan: up to so many values for each ordered axis of each configuration.

    An axis without an order, and one that moves no cost but latency, is not refined. ValueError where that leaves none.
    """
    if most == 0:
        return Refinement()
    with searching(command.search_path):
        curves = tuple(curve for composed in command.configurations for curve in _curves(command, composed, plan))
    refined = {curve.axis for curve in curves}
    unordered = tuple(name for name in command.axis_values if name not in refined)
    if not curves:
        swept = f": {', '.join(unordered)} has no order, or moves none" if unordered else ", as in +prune=0.5,0.9"
        raise ValueError(f"sweep.refine={most}: needs an axis with an order that moves bytes or multiply-adds{swept}")
    return Refinement(most=most, curves=curves, unordered=unordered)


def scale_of(axis: Axis, /) -> Scale | None:
    """Return the scale of an axis of a configuration; None where its values have no order, or it moves no counted cost.

    >>> from effbench.config.members import declared_axes
    >>> scale = scale_of(declared_axes()["bits"])
    >>> scale.weakest, scale.limit, scale.first
    (32, 1.0, 16.0)
    """
    if axis.type not in ("int", "float") or axis.compresses == "no order" or not set(axis.moves) & set(COUNTED):
        return None
    up = axis.compresses == "up"
    low, high = _end(axis.minimum, axis.above), _end(axis.maximum, axis.below)
    first, limit = (low, high) if up else (high, low)
    neutral = axis.neutral if isinstance(axis.neutral, (int, float)) else None
    if neutral is not None and limit is not None and (neutral >= limit if up else neutral <= limit):
        neutral = None  # a name for "not at all" that stands at the wrong end, as 0 shared values
    return Scale(
        compresses_up=up,
        weakest=first if neutral is None else neutral,
        limit=limit,
        is_whole=axis.type == "int",
        is_geometric=axis.scale == "geometric",
        first=first,
        allows=lambda value: _allows(axis, value),
    )


def _end(inclusive: float | None, exclusive: float | None) -> float | None:
    return exclusive if inclusive is None else inclusive


def _allows(axis: Axis, value: float) -> bool:
    try:
        axis.check(value)
    except ValueError:
        return False
    return True


def _curves(command: CommandLine, composed: Composed, plan: Plan) -> Iterator[AxisCurve]:
    """Yield the curves of one configuration. The plan has its points, maybe under another configuration's name."""
    maker = _Maker(command, composed, Builder(command.axes, composed, command.axis_values), plan)
    for name in command.axis_values:
        scale = scale_of(maker.builder.axes[name])
        if scale is not None:
            yield maker.curve(name, scale)


@dataclasses.dataclass(frozen=True)
class _Maker:
    """Makes the curves of one configuration, and points on them."""

    command: CommandLine
    composed: Composed
    builder: Builder
    plan: Plan

    def curve(self, name: str, scale: Scale) -> AxisCurve:
        """Return the own curve of an axis."""
        least = {other: self._least(other) for other in self.command.axis_values}  # the order is the labels'
        references = self._references()
        points = {}
        for value in self.command.axis_values[name]:
            assert not isinstance(value, str), "an axis with an order has numbers"
            points[value] = self._points({**least, name: value}, references)
        group = ", ".join(f"{key}={value}" for key, value in hide_in_values(self.composed.swept).items())
        return AxisCurve(
            axis=name,
            name=", ".join([*([group] if group else []), name]),
            scale=scale,
            references=references,
            points=points,
            make=lambda value: self._make({**least, name: self.builder.axes[name].check(value)}, references),
        )

    def _least(self, name: str) -> Value:
        """Return at which of its values an axis stands while another one's curve is taken.

        The neutral one, else the one that compresses least; of values without an order the first.
        """
        axis, values = self.builder.axes[name], self.command.axis_values[name]
        if axis.neutral in values:
            return axis.neutral
        scale = scale_of(axis)
        if scale is None or any(isinstance(value, str) for value in values):
            return values[0]
        return min(values, key=lambda value: scale.strength(float(value)))

    def _references(self) -> tuple[Point, ...]:
        neutral = {name: self.builder.axes[name].neutral for name in self.command.axis_values}
        return tuple(self.builder.point(neutral, seed, None) for seed in self.command.seeds)

    def _points(self, values: Mapping[str, Value], references: Sequence[Point]) -> tuple[Point, ...]:
        if dict(values) == dict(references[0].axes):
            return tuple(references)
        return tuple(self.builder.point(values, reference.seed, reference) for reference in references)

    def _make(self, values: Mapping[str, Value], references: Sequence[Point]) -> tuple[Point, ...]:
        with searching(self.command.search_path):
            points = self._points(values, references)
        return tuple(dataclasses.replace(point, is_refined=True) for point in points)
