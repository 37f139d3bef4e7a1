"""Runs logged as they end; what a tracker that is away could not take is logged when it is back, or at the end.

Nothing is lost by that: the store has every result, and the sweep computes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from effbench.plan.point import Point
from effbench.plan.sweep import Sweep
from effbench.run.interruption import check
from effbench.run.outcomes import RunError
from effbench.run.results import RunResult, load_result
from effbench.run.store import Store
from effbench.sweep.curve_log import CurveLog
from effbench.sweep.records import describe_run
from effbench.sweep.soft_labels import soft_label_files
from effbench.tracking.tracker import RunRecord, Tracker, TrackingError
from effbench.training.curves import CURVES, Row

RETRY_SECONDS = 60
"""How long after a failure the tracker is asked again: each time may take as long as its server lets wait."""


class RunLog:
    """Logs the runs of a sweep to its tracker."""

    def __init__(
        self,
        sweep: Sweep,
        store: Store,
        tracker: Tracker,
        /,
        *,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Log to a tracker whose sweep is open. `say` tells in a line that it is away; `clock` gives seconds."""
        self._sweep, self._store, self._tracker = sweep, store, tracker
        self._say, self._clock = say, clock
        self._metrics: dict[str, Mapping[str, float]] = {}
        self._waiting: dict[str, Callable[[], None]] = {}
        self._curves = CurveLog(tracker, describe=self._describe, ask=self._ask_now, clock=clock)
        self._retry_at = 0.0
        self.problem: TrackingError | None = None
        """Why the tracker did not take something that is still to be logged; None where all is."""

    @property
    def n_waiting(self) -> int:
        """How many runs are not logged yet."""
        return len(self._waiting)

    def note_begin(self, point: Point, began: float, /) -> None:
        """Log that a run was begun to be computed then, in seconds since 1970; later, where the tracker is away."""
        self._curves.begin(point, began)

    def note_epoch(self, point: Point, row: Row, /) -> None:
        """Note what an epoch of a run came to: it is logged now and then, and at the run's end."""
        self._curves.note(point, row)

    def _ask_now(self, what: Callable[[], None]) -> bool:
        """Whether the tracker did what was asked; one that was away a moment ago is not asked."""
        return (self.problem is None or self._clock() >= self._retry_at) and self._asked(what)

    def _describe(self, point: Point) -> RunRecord:
        return describe_run(point, self._sweep)

    def log(self, point: Point, outcome: RunResult | RunError, /) -> None:
        """Log a run that ended, unless that was done before; later, where the tracker is away."""
        check()
        if isinstance(outcome, RunResult):
            self._metrics[point.key] = outcome.metrics
            if self._is_done(point.key):
                return
        self._waiting[point.key] = self._later(point, outcome)
        if self.problem is None:
            self._try(point.key, lambda: self._log(point, outcome))
        elif self._clock() >= self._retry_at:
            self.log_waiting()

    def _is_done(self, key: str) -> bool:
        return key in self._tracker.finished_keys() and key not in self._tracker.keys_without_files()

    def log_waiting(self) -> None:
        """Log what is still to be logged, in the order in which it came, until the tracker fails."""
        for key, log in list(self._waiting.items()):
            check()
            if not self._try(key, log):
                return

    def log_metrics(self, metrics: Mapping[str, Mapping[str, float]], /) -> None:
        """Add metrics to finished runs, by their keys."""
        for key, values in metrics.items():
            check()
            if key not in self._waiting and not self._asked(partial(self._tracker.log_metrics, key, values)):
                return

    def log_tags(self, tags: Mapping[str, Mapping[str, str]], /) -> None:
        """Add tags to finished runs, by their keys."""
        for key, values in tags.items():
            check()
            if key not in self._waiting and not self._asked(partial(self._tracker.log_tags, key, values)):
                return

    def _try(self, key: str, log: Callable[[], None]) -> bool:
        if not self._asked(log):
            return False
        del self._waiting[key]
        if not self._waiting:
            self.problem = None
        return True

    def _asked(self, log: Callable[[], None]) -> bool:
        """Whether the tracker did what was asked; what keeps it from that is told once."""
        try:
            log()
        except TrackingError as error:
            if self.problem is None:
                self._say(f"{error}; the sweep goes on, and logs at its end what it can't log now")
            self.problem, self._retry_at = error, self._clock() + RETRY_SECONDS
            return False
        return True

    def _later(self, point: Point, outcome: RunResult | RunError) -> Callable[[], None]:
        """Return what logs a run later: its result is in the store, and need not be held until then."""
        if isinstance(outcome, RunError):
            return lambda: self._log(point, outcome)
        was_kept = outcome.was_kept

        def log() -> None:
            result = load_result(point.key, self._store)
            if result is None:
                raise OSError(
                    f"the result of {point} is gone from {self._store.root}; the same command computes it again"
                )
            self._log(point, replace(result, was_kept=was_kept))

        return log

    def _log(self, point: Point, outcome: RunResult | RunError) -> None:
        if isinstance(outcome, RunError):
            rows = self._curves.rows(point.key)
            record = describe_run(point, self._sweep, error=outcome, curves=rows)
            if record.began is None:
                record = replace(record, began=self._curves.began(point.key))
            self._tracker.log_run(replace(record, points=self._curves.left(point.key, rows)), status="FAILED")
            return
        reference = self._metrics.get(point.reference_key or point.key)
        record = describe_run(point, self._sweep, result=outcome, reference=reference)
        record = replace(record, files={**record.files, **soft_label_files(point, self._store)})
        points = self._curves.left(point.key, map(dict, outcome.tables.get(CURVES, ())))
        if point.key in self._tracker.finished_keys():
            self._tracker.log_files(point.key, record.files)
            self._say(f"{point}: the files of its run were gone; they are logged again")
        else:
            self._tracker.log_run(replace(record, points=points), status="FINISHED", reused=outcome.was_kept)
