"""A run as a job: what a launcher carries to another process, and what it does there."""

from __future__ import annotations

import os
import socket
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from effbench.checks.owner import Owner
from effbench.plan.point import Point
from effbench.run.letters import LetterWriter
from effbench.run.one import run_point
from effbench.run.outcomes import Outcome, RunError
from effbench.run.parcel import Parcel, unseal_point
from effbench.run.store import Store
from effbench.run.workers import run_in_workers

SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of a sweep. Whoever gets it needs effbench, the folders of the caller, and the parcel."""

    key: str
    name: str
    """The run's, for lists of jobs."""
    point: bytes = field(repr=False)
    """Sealed: its modules are found once the parcel is open."""
    store: Store
    device: str
    letters: Path
    timeout: float | None
    """The seconds that it may take."""
    is_apart: bool
    """Whether the run has a process of its own: one that dies fails this run alone."""
    caller: Owner | None = None
    """Whose end is the job's, where it is on the same machine: a scheduler would let it run on."""

    def __call__(self, parcel: Parcel, /) -> RunError | bool:
        """Run it; the store has the result. Returns whether it was there before, or why it failed."""
        writer = LetterWriter(self.letters)
        try:
            if self.caller is not None:
                threading.Thread(target=_end_with, args=(self.caller,), daemon=True).start()
            _join(parcel)
            outcome = self._run(unseal_point(self.point), writer)
        except (Exception, SystemExit) as error:
            outcome = RunError.of(error)
        if isinstance(outcome, RunError):
            writer.failed(str(outcome), outcome.trace, outcome.errno, outcome.times)
            return outcome
        writer.ended(was_kept=outcome.was_kept)
        return outcome.was_kept

    def _run(self, point: Point, writer: LetterWriter) -> Outcome:
        writer.run_started(point)
        device = torch.device(self.device)
        if self.is_apart:
            ((_, outcome),) = run_in_workers(
                [point], self.store, device, _Told(writer), n_workers=1, timeout=self.timeout
            )
            return outcome
        return run_point(
            point,
            self.store,
            device=device,
            progress=partial(writer.step, point),
            tell=partial(writer.epoch_ended, point),
            begin=partial(writer.run_began, point),
        )

    def checkpoint(self, *arguments: Any) -> Any:
        """Have submitit queue it again when the scheduler takes its machine away: trainings go on where they were."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, *arguments)


class _Told(LetterWriter):
    """The letters of a run in a worker: that it begins was written already."""

    def __init__(self, writer: LetterWriter) -> None:
        super().__init__(writer.path)

    def run_started(self, point: Point) -> None:
        """Write nothing."""


def _join(parcel: Parcel) -> None:
    try:
        parcel.join()
    except OSError as error:
        raise OSError(
            error.errno,
            f"{parcel.folder} can't be entered on {socket.gethostname()} ({error.strerror}): a launcher's machines "
            "must see the working folder and the store under the same paths as the command",
        ) from None


def _end_with(owner: Owner) -> None:
    """End this process when its caller is gone."""
    while not owner.is_gone:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os._exit(1)
