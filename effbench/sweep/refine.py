"""A sweep refined: once its grid is done, more points where its results ask for them.

Each value follows from finished results alone (`plan.bisection`): the same command, once more or after it was killed,
comes to the same values and finds what was computed of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from effbench.analysis.definitions.acceptable import acceptable_runs
from effbench.plan.bisection import next_value
from effbench.plan.point import Point
from effbench.plan.refinement import AxisCurve
from effbench.plan.sweep import Sweep
from effbench.sweep.run_frame import Metrics, run_frame


@dataclass(frozen=True)
class Refined:
    """A sweep with what refining added to it."""

    sweep: Sweep
    notes: tuple[str, ...] = ()
    """What was added to each curve, or why nothing or no more was: a line each."""


def refine(sweep: Sweep, metrics: Metrics, compute: Callable[[Sweep, Sequence[Point]], bool], /) -> Refined:
    """Add points to a sweep whose grid is done, one value for each curve at a time.

    metrics: of the finished runs, by key; `compute` adds to them. It is given the sweep as it is by then and its new
    points, and returns whether to go on.
    """
    searches = [_Search(curve, sweep.refinement.most) for curve in sweep.refinement.curves]
    goes_on = True
    while goes_on and any([search.step(sweep, metrics) for search in searches]):
        there = {point.key for point in sweep.plan.points}
        proposed = {point.key: point for search in searches for point in search.newest if point.key not in there}
        sweep = sweep.with_points(proposed.values())
        goes_on = not proposed or compute(sweep, tuple(proposed.values()))
    notes = [search.note() for search in searches]
    if searches and sweep.refinement.unordered:
        notes.append(f"not refined, without an order of counted costs: {', '.join(sweep.refinement.unordered)}")
    return Refined(sweep, tuple(notes))


@dataclass
class _Search:
    """The search for where one axis stops being free."""

    curve: AxisCurve
    left: int
    """How many values it may still try."""
    added: dict[float, tuple[Point, ...]] = field(default_factory=dict)
    refused: dict[float, str] = field(default_factory=dict)
    """Why values were refused, which bounds the search as an unacceptable one does."""
    newest: tuple[Point, ...] = ()
    why: str = ""
    """Why it ended before all values were tried."""

    def step(self, sweep: Sweep, metrics: Metrics) -> bool:
        """Go on by one value, whose points are then the `newest`; returns whether there is one."""
        self.newest = ()
        while not self.newest and not self.why:
            value = self._next(sweep, metrics)
            if value is None:
                break
            self.left -= 1
            try:
                self.newest = self.added[value] = self.curve.make(value)
            except ValueError as error:
                self.refused[value] = str(error)
        return bool(self.newest)

    def _next(self, sweep: Sweep, metrics: Metrics) -> float | None:
        points = {**self.curve.points, **self.added}
        lost = [value for value, own in self.added.items() if not any(point.key in metrics for point in own)]
        if self.left == 0 or lost:
            self.why = f"{self.curve.axis}={lost[0]:g} failed" if lost else ""
            return None
        among = [*self.curve.references, *(point for own in points.values() for point in own)]
        among = list({point.key: point for point in among}.values())
        acceptable, self.why = acceptable_runs(run_frame(sweep, metrics, {}, among=among), tolerance=sweep.tolerance)
        if self.why:
            return None
        known = {
            value: verdicts[0]
            for value, own in points.items()
            if (verdicts := [acceptable[point.key] for point in own if point.key in acceptable])
        }
        value = next_value(self.curve.scale, {**known, **dict.fromkeys(self.refused, False)}, taken=points)
        if value is None:
            self.why = self._why_no_more(known)
        return value

    def _why_no_more(self, known: Mapping[float, bool]) -> str:
        if not known:
            return "no run of it is finished"
        if self.curve.scale.weakest is None and not any(known.values()):
            return "none is acceptable, and where it begins to compress is not known"
        return "there is nothing left to split"

    def note(self) -> str:
        """Say what was added, and why no more."""
        values = ", ".join(f"{value:g}" for value in self.added) or "nothing"
        why = f" ({self.why})" if self.why else ""
        refused = "".join(f"; {self.curve.axis}={value:g} is refused: {what}" for value, what in self.refused.items())
        return f"refined: {self.curve.name}: {values}{why}{refused}"
