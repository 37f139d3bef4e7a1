"""What a sweep shows of itself while it goes on, on stderr: done, running, failed, time left."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from effbench.analysis.figures.names import shortened
from effbench.plan.point import Plan, Point
from effbench.sweep.messages import plain
from effbench.sweep.terminal import print_line
from effbench.training.curves import Row

_REMEMBERED = 10
_ROOM_FOR_BARS, _ROOM_FOR_TIME = 60, 45
"""Cells of a terminal from which on these are shown."""
_TIME, _COUNT, _LEAST = len("-:--:--"), 3, 8
"""Cells of a time, of a count, of a description at least."""


class ProgressDisplay:
    """One bar for the sweep and one for each run that is under way; silent where the console is no terminal."""

    def __init__(self, plan: Plan, *, console: Console | None = None, clock: Callable[[], float] = time.monotonic):
        """Show a sweep of that many runs; `clock` gives seconds."""
        console = _stderr_console() if console is None else console
        self.forecast = Forecast(len(plan.points), clock)
        self._n_runs = len(plan.points)
        self._progress = Progress(*_columns(self, console), console=console, disable=not console.is_interactive)
        self.runs = self._progress.add_task("runs", total=len(plan.points))
        self._under_way: dict[str, TaskID] = {}
        self._n_failed = 0
        self.on_begin: Callable[[Point, float], None] = lambda point, seconds: None
        """Is told when a run is begun to be computed."""
        self.on_epoch: Callable[[Point, Row], None] = lambda point, row: None
        """Is told of every epoch."""

    def __enter__(self) -> ProgressDisplay:
        """Begin to show."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing."""
        self._progress.stop()

    def bars(self) -> RenderableType:
        """Return what is shown now."""
        return self._progress.get_renderable()

    def run_started(self, point: Point) -> None:
        """Show a bar for the run."""
        self._under_way[point.key] = self._progress.add_task(plain(point), total=None)
        self.forecast.run_started(point.key)
        self._describe()

    def run_began(self, point: Point, seconds: float) -> None:
        """Pass on when a run was begun to be computed."""
        self.on_begin(point, seconds)

    def step(self, point: Point, step: str, done: int, total: int) -> None:
        """Move the run's bar."""
        self._progress.update(
            self._under_way[point.key], description=plain(f"{point}: {step}"), completed=done, total=total
        )
        self.forecast.run_worked(point.key)

    def epoch_ended(self, point: Point, row: Row) -> None:
        """Pass on what an epoch came to."""
        self.on_epoch(point, row)

    def run_computed(self, point: Point) -> None:
        """Take the run's bar away: what is left of it is to log it."""
        self._progress.remove_task(self._under_way.pop(point.key))
        self.forecast.run_computed(point.key)
        self._describe()

    def run_ended(self, point: Point, *, failed: bool) -> None:
        """Count the run."""
        self._n_failed += failed
        self._progress.advance(self.runs)
        self._describe()

    def expect(self, n_runs: int, /) -> None:
        """Count runs that refining adds."""
        self._n_runs += n_runs
        self._progress.update(self.runs, total=self._n_runs)
        self.forecast.expect(n_runs)

    def measuring(self, done: float, total: int) -> None:
        """Show the latency pass."""
        task = self._under_way.get("latency")
        if task is None:
            task = self._under_way["latency"] = self._progress.add_task("latency", total=total)
        self._progress.update(task, completed=done, total=total)

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        print_line(f"effbench: {line}", self._progress.console)

    def _describe(self) -> None:
        running = f", {len(self._under_way)} running" if self._under_way else ""
        failed = f", {self._n_failed} failed" if self._n_failed else ""
        self._progress.update(self.runs, description=f"runs{running}{failed}")


def _stderr_console() -> Console:
    """Return the console of stderr; what is no terminal gets no bars, whatever FORCE_COLOR says."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    return Console(stderr=True, force_interactive=None if is_terminal else False)


def _columns(display: ProgressDisplay, console: Console) -> list[ProgressColumn]:
    """Return the columns for a console's width: where there is little room the bar goes first, then the time gone."""
    columns: list[ProgressColumn] = [MofNCompleteColumn(table_column=_uncut())]
    width = console.width
    if width >= _ROOM_FOR_BARS:
        columns.insert(0, BarColumn(bar_width=min(40, width // 5), table_column=_uncut()))
    if width >= _ROOM_FOR_TIME:
        columns.append(TimeElapsedColumn(table_column=_uncut()))
    return [_Description(console, columns), *columns, _TimeLeft(display)]


def _uncut() -> Column:
    return Column(no_wrap=True)


class _Description(ProgressColumn):
    """What goes on, in the room that the other columns leave: of a long name the middle is left out."""

    max_refresh = 0.0

    def __init__(self, console: Console, others: Sequence[ProgressColumn]) -> None:
        super().__init__(table_column=_uncut())
        self._console, self._others = console, others

    def render(self, task: Task) -> Text:
        """Return what stands in a task's row."""
        bars = [column.bar_width or 0 for column in self._others if isinstance(column, BarColumn)]
        n_times = 1 + sum(isinstance(column, TimeElapsedColumn) for column in self._others)
        counts = 2 * max(len(f"{task.total or 0:.0f}"), _COUNT) + 1
        taken = sum(bars) + n_times * _TIME + counts + len(self._others) + 2
        room = max(self._console.width - taken, _LEAST)
        text = shortened(task.description, room)
        while cell_len(text) > room:  # some letters are two cells wide
            text = shortened(text, len(text) - 1)
        return Text(text)


class _TimeLeft(TimeRemainingColumn):
    """The time left: of a run or of the latency pass by its own pace, of the sweep by how long its runs take."""

    max_refresh = 0.0

    def __init__(self, display: ProgressDisplay) -> None:
        super().__init__(table_column=_uncut())
        self._display = display

    def render(self, task: Task) -> Text:
        """Return what stands in a task's row."""
        if task.id != self._display.runs:
            return super().render(task)
        seconds = self._display.forecast.seconds_left()
        if seconds is None:
            return Text("-:--:--", style="progress.remaining")
        minutes, seconds = divmod(round(seconds), 60)
        return Text(f"{minutes // 60}:{minutes % 60:02}:{seconds:02}", style="progress.remaining")


class Forecast:
    """How long the runs of a sweep will take yet, judged by the last ones that were computed.

    Runs that come from the store take no time and say nothing.
    """

    def __init__(self, n_runs: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._n_waiting = n_runs
        self._n_at_once = 1
        self._began: dict[str, float] = {}
        self._working: set[str] = set()
        self._durations: deque[float] = deque(maxlen=_REMEMBERED)

    def expect(self, n_runs: int) -> None:
        """Note that there are more runs."""
        self._n_waiting += n_runs

    def run_started(self, key: str) -> None:
        """Note that a run begins."""
        self._n_waiting -= 1
        self._began[key] = self._clock()
        self._n_at_once = max(self._n_at_once, len(self._began))

    def run_worked(self, key: str) -> None:
        """Note that a run is really computed."""
        self._working.add(key)

    def run_computed(self, key: str) -> None:
        """Note that a run is computed, or failed."""
        seconds = self._clock() - self._began.pop(key)
        if key in self._working:
            self._durations.append(seconds)

    def seconds_left(self) -> float | None:
        """Return the seconds until all runs are computed; None while nothing tells."""
        if not (self._began or self._n_waiting):
            return 0.0
        if not self._durations:
            return None
        a_run, now = sum(self._durations) / len(self._durations), self._clock()
        under_way = sum(max(0.0, a_run - (now - began)) for began in self._began.values())
        return (under_way + a_run * self._n_waiting) / self._n_at_once
