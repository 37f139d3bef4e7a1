"""A sweep refined: once its grid is done, more points where its results ask for them.

Each value follows from finished results alone (`sweep.refine_value`): the same command, once more or after it was
killed, comes to the same values and finds what was computed of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from effbench.plan.point import Point
from effbench.plan.refinement import AxisCurve
from effbench.plan.sweep import Sweep
from effbench.sweep.refine_value import CountsByRun, Tried, value_to_try
from effbench.sweep.run_frame import Metrics, run_frame


@dataclass(frozen=True)
class Refined:
    """A sweep with what refining added to it."""

    sweep: Sweep
    notes: tuple[str, ...] = ()
    """What was added to each curve, or why nothing or no more was: a line each."""


def refine(
    sweep: Sweep, metrics: Metrics, counts: CountsByRun, compute: Callable[[Sweep, Sequence[Point]], bool], /
) -> Refined:
    """Add points to a sweep whose grid is done, one value for each curve at a time.

    metrics, counts: of the finished runs, by key; `compute` adds to them. It is given the sweep as it is by then and
    its new points, and returns whether to go on.
    """
    searches = [_Search(curve, sweep.refinement.most) for curve in sweep.refinement.curves]
    goes_on = True
    while goes_on and any([search.step(sweep, metrics, counts) for search in searches]):
        there = {point.key for point in sweep.plan.points}
        proposed = {point.key: point for search in searches for point in search.newest if point.key not in there}
        sweep = sweep.with_points(proposed.values())
        goes_on = not proposed or compute(sweep, tuple(proposed.values()))
    notes = [search.note(sweep.saturation.method) for search in searches]
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

    def step(self, sweep: Sweep, metrics: Metrics, counts: CountsByRun) -> bool:
        """Go on by one value, whose points are then the `newest`; returns whether there is one."""
        self.newest = ()
        while not self.newest and not self.why:
            value = self._next(sweep, metrics, counts)
            if value is None:
                break
            self.left -= 1
            try:
                self.newest = self.added[value] = self.curve.make(value)
            except ValueError as error:
                self.refused[value] = str(error)
        return bool(self.newest)

    def _next(self, sweep: Sweep, metrics: Metrics, counts: CountsByRun) -> float | None:
        points = {**self.curve.points, **self.added}
        lost = [value for value, own in self.added.items() if not any(point.key in metrics for point in own)]
        if self.left == 0 or lost:
            self.why = f"{self.curve.axis}={lost[0]:g} failed" if lost else ""
            return None
        among = [*self.curve.references, *(point for own in points.values() for point in own)]
        among = list({point.key: point for point in among}.values())
        frame = run_frame(sweep, metrics, {}, among=among)
        tried = Tried(curve=self.curve, points=points, refused=self.refused)
        value, self.why = value_to_try(tried, frame, counts, sweep)
        return value

    def note(self, method: str) -> str:
        """Say what was added, by which definition, and why no more."""
        values = ", ".join(f"{value:g}" for value in self.added) or "nothing"
        why = f" ({self.why})" if self.why else ""
        refused = "".join(f"; {self.curve.axis}={value:g} is refused: {what}" for value, what in self.refused.items())
        return f"refined by {method}: {self.curve.name}: {values}{why}{refused}"
