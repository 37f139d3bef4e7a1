"""Runs logged while they go on: that they do, and their curves, never so often that a training would feel it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from effbench.plan.point import Point
from effbench.tracking import names
from effbench.tracking.tracker import CurvePoint, RunRecord, Tracker
from effbench.training.curves import IDENTITY, Row

SECONDS_APART = 1.0
"""The least time between two requests for one run, and before its first: most short runs are logged at their end."""
MOST_SHARE = 0.05
"""Of the time that may go into such requests: a training in this process waits for them, and a server may be slow."""

Ask = Callable[[Callable[[], None]], bool]
"""Whether the tracker did what it is asked; False as well where it is away, and it is not the time to try again."""


@dataclass
class _Run:
    """What is known of the curves of one run."""

    next_at: float
    rows: list[Row] = field(default_factory=list)
    logged: set[tuple[str, int]] = field(default_factory=set)
    is_begun: bool = False
    began: float | None = None
    """In seconds since 1970."""


class CurveLog:
    """Logs the curves of the runs of a sweep to its tracker."""

    def __init__(
        self,
        tracker: Tracker,
        /,
        *,
        describe: Callable[[Point], RunRecord],
        ask: Ask,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """describe: what is to be logged of a run that goes on, beside its curves."""
        self._tracker, self._describe, self._ask, self._clock = tracker, describe, ask, clock
        self._runs: dict[str, _Run] = {}

    def begin(self, point: Point, began: float, /) -> None:
        """Have a run RUNNING that was begun then, unless the sweep has it finished."""
        run = self._run(point)
        run.began = began
        if point.key not in self._tracker.finished_keys():
            self._ask(lambda: self._begin(point, run))

    def note(self, point: Point, row: Row, /) -> None:
        """Note an epoch of a run, and log what there is of its curves if it is time."""
        run = self._run(point)
        run.rows.append(row)
        if self._clock() >= run.next_at and point.key not in self._tracker.finished_keys():
            began = self._clock()
            self._ask(lambda: self._log(point, run))
            ended = self._clock()
            run.next_at = ended + max(SECONDS_APART, (ended - began) / MOST_SHARE)

    def _run(self, point: Point) -> _Run:
        return self._runs.setdefault(point.key, _Run(self._clock() + SECONDS_APART))

    def _begin(self, point: Point, run: _Run) -> None:
        if not run.is_begun:
            self._tracker.begin_run(replace(self._describe(point), began=run.began))
            run.is_begun = True

    def _log(self, point: Point, run: _Run) -> None:
        self._begin(point, run)
        left = _unlogged(run.rows, run.logged)
        self._tracker.log_points(point.key, points_of(left))
        run.logged |= {_place(row) for row in left}

    def began(self, key: str, /) -> float | None:
        """Return when a run was begun, in seconds since 1970; None where nobody told."""
        return self._runs[key].began if key in self._runs else None

    def rows(self, key: str, /) -> Sequence[Row]:
        """Return all that was told of a run."""
        return self._runs[key].rows if key in self._runs else ()

    def left(self, key: str, rows: Iterable[Row], /) -> list[CurvePoint]:
        """Return those points of a run's curves that are not logged yet."""
        return points_of(_unlogged(rows, self._runs[key].logged if key in self._runs else set()))


def points_of(rows: Iterable[Row], /) -> list[CurvePoint]:
    """Return the points of curves: a metric for each column, its step the epoch counted through the whole run.

    >>> row = {"curve": "train", "step": "train", "epoch": 2, "time": 5.0, "loss": 0.5}
    >>> points_of([row])
    [CurvePoint(name='curve/train/loss', value=0.5, step=2, time=5.0)]
    """
    points = []
    for row in rows:
        begin, step, seconds = f"{names.CURVE}{row['curve']}/", int(row["epoch"]), float(row["time"])
        values = {name: float(value) for name, value in row.items() if name not in IDENTITY}
        points += [
            CurvePoint(name=begin + name, value=value, step=step, time=seconds) for name, value in values.items()
        ]
    return points


def _unlogged(rows: Iterable[Row], logged: set[tuple[str, int]]) -> list[Row]:
    return [row for row in rows if _place(row) not in logged]


def _place(row: Row) -> tuple[str, int]:
    return str(row["curve"]), int(row["epoch"])
