"""How a run ends, and who is told on the way."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable, Generator, Sequence
from typing import Protocol

import torch

from effbench.checks.errors import first_line
from effbench.plan.point import Point
from effbench.run.results import RunResult
from effbench.run.store import Store
from effbench.run.times import Times, times_of
from effbench.training.curves import Row

STORAGE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""No space, no quota, read-only: every other run would meet them too."""


class Observer(Protocol):
    """Is told how far the points are."""

    def run_started(self, point: Point) -> None:
        """Note that a run is given to whoever computes it."""

    def run_began(self, point: Point, seconds: float) -> None:
        """Note when a run was begun to be computed, in seconds since 1970; not told of one whose result was kept."""

    def step(self, point: Point, step: str, done: int, total: int) -> None:
        """Note how far a stage of a run is."""

    def epoch_ended(self, point: Point, row: Row) -> None:
        """Note what an epoch of a run's training came to, while the run goes on."""

    def run_computed(self, point: Point) -> None:
        """Note that a run is computed, or failed; its result is taken next."""


class RunError(RuntimeError):
    """A run that failed: the exception as text, with its traceback, wherever it was raised."""

    def __init__(self, message: str, trace: str, errno: int | None = None, times: Times | None = None) -> None:
        """Keep what can be sent of an exception to another process. times: of the run, as far as they are known."""
        super().__init__(message, trace, errno, times)
        self.trace = trace
        self.errno = errno
        self.times = times

    @property
    def summary(self) -> str:
        """What went wrong, in one line."""
        return first_line(self)

    @classmethod
    def of(cls, error: BaseException) -> RunError:
        """Return an exception as a run's."""
        trace = "".join(traceback.format_exception(error))
        return cls(f"{type(error).__name__}: {error}", trace, getattr(error, "errno", None), times_of(error))

    def __str__(self) -> str:
        return str(self.args[0])


Outcome = RunResult | RunError
Outcomes = Generator[tuple[Point, Outcome], None, None]

Executor = Callable[[Sequence[Point], Store, torch.device, Observer], Outcomes]
"""Runs points in whatever order it likes, and yields each with its result or its error. May begin when called."""


class CannotBegin(ValueError):  # noqa: N818 (what happened, before anything began)
    """Runs that nothing was found to run: a launcher's cluster that does not answer, options that it refuses."""
