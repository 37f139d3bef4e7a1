"""Points run in worker processes, several at once.

A worker gets a point and a store, and gives back a result. One that dies (killed, out of memory) fails the run that it
had, and is replaced; the others never notice.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess, SpawnProcess
from typing import cast

import torch

from effbench.plan.point import Point
from effbench.run.children import end_process
from effbench.run.forkserver import start, worker_context
from effbench.run.interruption import check
from effbench.run.job_logging import log_as_told
from effbench.run.one import run_point
from effbench.run.order import Queue
from effbench.run.outcomes import Observer, Outcome, Outcomes, RunError
from effbench.run.parcel import Parcel
from effbench.run.store import Store
from effbench.run.times import Times
from effbench.training.curves import Row
from effbench.training.layout import CRASHES

Progress = tuple[str, int, int]
"""A step, how much of it is done, and of how much."""
_BEGUN: Progress = ("", 0, 0)
"""What a worker says when it begins a run: until then it may have been imports that took their time."""
_WAITS: Progress = ("", 1, 0)
"""What it says when it waits for what another process computes: that time is not the run's."""
_GOES_ON: Progress = ("", 2, 0)
"""What it says when that wait is over."""


def run_in_workers(
    points: Sequence[Point],
    store: Store,
    device: torch.device,
    observer: Observer,
    *,
    n_workers: int,
    timeout: float | None = None,
) -> Outcomes:
    """Run the points in `n_workers` processes, at once; yield each as it is done.

    A point that shares stages with an earlier one starts when that one is done: nobody waits for a lock while there is
    other work. One that takes longer than `timeout` seconds fails, and its process is ended.
    """
    runs = _runs_in_workers(points, store, device, observer, n_workers, timeout)
    next(runs)  # the first points are under way
    return cast(Outcomes, runs)


def _runs_in_workers(
    points: Sequence[Point],
    store: Store,
    device: torch.device,
    observer: Observer,
    n_workers: int,
    timeout: float | None,
) -> Generator[tuple[Point, Outcome] | None, None, None]:
    """Yield None as soon as every worker has what it can do, then each point with its result."""
    queue = Queue(points)
    workers: list[_Worker] = []
    parcel = Parcel.of(points)
    try:
        workers += [_Worker(parcel, store, device, timeout) for _ in range(n_workers)]
        _keep_busy(workers, queue, observer)
        yield None
        while not queue.is_empty:
            for worker in _ready([worker for worker in workers if worker.point is not None]):
                check()  # before one that was ended for that is taken for dead, and begun anew
                message = worker.receive()
                point = worker.point
                assert point is not None
                if isinstance(message, dict):
                    observer.epoch_ended(point, message)
                    continue
                if isinstance(message, float):
                    observer.run_began(point, message)
                    continue
                if isinstance(message, tuple):
                    if message not in (_BEGUN, _WAITS, _GOES_ON):
                        observer.step(point, *message)
                    continue
                worker.point = None
                queue.finish(point)
                observer.run_computed(point)
                _keep_busy(workers, queue, observer)  # before the result is logged, which takes a while
                yield point, message
    finally:
        for worker in workers:
            worker.stop()


def _ready(busy: Sequence[_Worker]) -> list[_Worker]:
    """Wait until workers have something to tell, or their time is over; return those."""
    deadlines = [worker.deadline for worker in busy if worker.deadline is not None]
    seconds = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
    heard = wait([worker.connection for worker in busy], seconds)
    return [worker for worker in busy if worker.connection in heard or worker.is_late]


def _keep_busy(workers: Sequence[_Worker], queue: Queue, observer: Observer) -> None:
    """Give every idle worker a point, while there is one that can start."""
    for worker in workers:
        if worker.point is None and (point := queue.take()) is not None:
            observer.run_started(point)
            worker.begin(point)


@dataclass
class _Worker:
    """A process that runs points, and this end of the pipe to it. Begun anew when it dies."""

    parcel: Parcel
    store: Store
    device: torch.device
    timeout: float | None
    """The seconds that a run may take."""
    point: Point | None = None
    deadline: float | None = None
    """When the run that is under way must be done, by time.monotonic; None where nothing says, and while it waits."""
    left: float | None = None
    """The seconds that it may take yet, while it waits for another process."""
    began: float | None = None
    """When the run that is under way was begun to be computed, in seconds since 1970; None before."""

    def __post_init__(self) -> None:
        self._begin_process()

    @property
    def is_late(self) -> bool:
        """Whether the run under way should be done by now."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def begin(self, point: Point) -> None:
        """Send a point."""
        self.point, self.deadline, self.left, self.began = point, None, None, None
        try:
            self.connection.send(point)
        except OSError:  # it died while idle
            self._begin_process()
            self.connection.send(point)

    def receive(self) -> Progress | Row | float | Outcome:
        """Return progress, an epoch, when the run was begun to be computed, or its end.

        A process that died or is late is an exception, and replaced.
        """
        if self.is_late and not self.connection.poll():
            self.stop()
            self._begin_process()
            return self._failed(f"took longer than sweep.timeout={self.timeout:g} seconds; its process was ended")
        try:
            message: Progress | Row | float | Outcome = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode or 0
            self._begin_process()
            return self._failed(f"the worker process died ({how_ended(code)}); {_remedy(code)}")
        self._note_time(message)
        return message

    def _note_time(self, message: Progress | Row | float | Outcome) -> None:
        """Have the run's time begin, stand still, or go on."""
        now = time.monotonic()
        if isinstance(message, float):
            self.began = message
        elif message == _BEGUN and self.timeout is not None:
            self.deadline = now + self.timeout
        elif message == _WAITS and self.deadline is not None:
            self.left = self.deadline - now
            self.deadline = None
        elif message == _GOES_ON and self.left is not None:
            self.deadline, self.left = now + self.left, None

    def stop(self) -> None:
        """End the process, whatever it does."""
        self.connection.close()
        if self._process.pid is not None:
            end_process(self._process.pid)
        self._process.join()

    def _failed(self, reason: str) -> RunError:
        return RunError(reason, reason, times=None if self.began is None else Times.since(self.began))

    def _begin_process(self) -> None:
        context = worker_context()
        self.connection, theirs = context.Pipe()
        self._process: ForkServerProcess | SpawnProcess = context.Process(
            target=_serve, args=(theirs, self.parcel, self.store, self.device), daemon=False
        )
        start(self._process)
        theirs.close()


def _serve(connection: Connection, parcel: Parcel, store: Store, device: torch.device) -> None:
    """Run points until the pipe is closed, or the process that began this one is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started the sweep
    threading.Thread(target=end_with_parent, daemon=True).start()
    log_as_told()
    store = replace(store, on_wait=lambda begins: connection.send(_WAITS if begins else _GOES_ON))
    for n_runs in itertools.count():
        try:
            point: Point = connection.recv()
        except (EOFError, OSError):
            return

        connection.send(_BEGUN)

        def progress(step: str, done: int, total: int) -> None:
            if done % max(1, total // 20) == 0 or done == total:
                connection.send((step, done, total))

        try:
            if n_runs == 0:
                parcel.open()
            message: Outcome = run_point(
                point, store, device=device, progress=progress, tell=connection.send, begin=connection.send
            )
        except (Exception, SystemExit) as error:
            message = RunError.of(error)
        try:
            connection.send(message)
        except OSError:  # nobody listens any more
            return


def end_with_parent() -> None:
    """End this process at once, whatever it does, when its parent is gone: nobody would take its result."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def how_ended(code: int, /) -> str:
    """Say how a process ended, by its exit code; a negative one is that of a signal."""
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def _remedy(code: int) -> str:
    """Say what may help where a process ended with an exit code; a negative one is that of a signal."""
    if -code in CRASHES:
        return "a library crashed, or memory ran out? train.layout=contiguous may help, or another version of torch"
    return "out of memory?"
