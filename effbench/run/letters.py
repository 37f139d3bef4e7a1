"""Letters: what a job that runs on another machine tells on its way, through a folder that both see.

A file for each run, a line of JSON for each message; nothing in it is code. A job that is run again, as its machine was
lost, goes on in the same file.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from effbench.plan.point import Point
from effbench.run.times import Times
from effbench.training.curves import Row

STARTED, BEGAN, STEP, EPOCH, ENDED, FAILED = "started", "began", "step", "epoch", "ended", "failed"
SECONDS_APART = 0.5
"""The least time between two messages on how far a step is."""


@dataclass
class LetterWriter:
    """Is told of one run, and writes it down: an observer of `run.outcomes`."""

    path: Path
    _next_at: float = field(default=0.0, repr=False)

    def run_started(self, point: Point) -> None:
        """Write that the run begins."""
        self._write(STARTED)

    def run_began(self, point: Point, seconds: float) -> None:
        """Write when the run was begun to be computed."""
        self._write(BEGAN, seconds)

    def step(self, point: Point, step: str, done: int, total: int) -> None:
        """Write how far it is, now and then."""
        if time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + SECONDS_APART
            self._write(STEP, step, done, total)

    def epoch_ended(self, point: Point, row: Row) -> None:
        """Write what an epoch came to."""
        self._write(EPOCH, row)

    def run_computed(self, point: Point) -> None:
        """Write nothing: it is computed when its result is kept."""

    def ended(self, *, was_kept: bool) -> None:
        """Write that the store has the result, and whether it was there before."""
        self._write(ENDED, was_kept)

    def failed(self, message: str, trace: str, errno: int | None, times: Times | None = None) -> None:
        """Write why it failed, and when it was at work."""
        self._write(FAILED, message, trace, errno, None if times is None else times.to_plain())

    def _write(self, *message: Any) -> None:
        with suppress(OSError):  # nobody reads it any more; what the job returns says how it ended, too
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            with os.fdopen(handle, "ab") as stream:
                stream.write(json.dumps(message).encode() + b"\n")


@dataclass
class LetterReader:
    """Reads what was not read yet of a file of letters."""

    path: Path
    _n_read: int = 0

    def read(self) -> Iterator[list[Any]]:
        """Yield whole messages; what is no message is passed over, as a machine was lost while it wrote it."""
        try:
            with self.path.open("rb") as stream:
                stream.seek(self._n_read)
                content = stream.read()
        except OSError:  # not there yet, or its server is away for a moment
            return
        whole = content[: content.rfind(b"\n") + 1]
        self._n_read += len(whole)
        for line in whole.splitlines():
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if isinstance(message, list) and message:
                yield message
