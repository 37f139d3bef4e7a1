"""The processor's cores while something is timed: held to a few of them, and watched for what else runs there."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_PEEK_SECONDS = 0.05
_TASKS = Path("/proc/self/task")


@contextmanager
def held_to(n_cores: int, /) -> Iterator[tuple[int, ...]]:
    """While entered, keep all threads of this process on so many cores: the least busy of those that it may use.

    Gives their numbers; none where the system can't do it, or has not so many. The threads that there are when it is
    entered are held, and those that they begin; so are those of processes that compute for this one (`count_as_own`).
    """
    cores = _least_busy(n_cores)
    before: dict[int, set[int]] = {}
    try:
        for thread in _threads() if cores else ():
            with suppress(OSError):  # a thread that has ended
                before[thread] = os.sched_getaffinity(thread)
                os.sched_setaffinity(thread, cores)
        yield tuple(cores)
    finally:
        for thread, allowed in before.items():
            with suppress(OSError):
                os.sched_setaffinity(thread, allowed)


def _least_busy(n_cores: int) -> list[int]:
    if not hasattr(os, "sched_getaffinity") or not _TASKS.is_dir():
        return []
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) <= n_cores:
        return []
    busy = psutil.cpu_percent(_PEEK_SECONDS, percpu=True)
    # Of equally busy ones the last: the first core is the system's own.
    by_use = sorted(allowed, key=lambda core: (round(busy[core], -1) if core < len(busy) else 0, -core))
    return sorted(by_use[:n_cores])


def _threads() -> list[int]:
    folders = [_TASKS, *(Path(f"/proc/{process}/task") for process in _own)]
    return [int(task.name) for folder in folders if folder.is_dir() for task in folder.iterdir()]


def count_as_own(process: int, /) -> None:
    """Have a process count as a part of this one: it is held to the same cores, and is none of the others."""
    _own.add(process)


def count_as_others(process: int, /) -> None:
    """Undo `count_as_own`."""
    _own.discard(process)


_own: set[int] = set()
"""Processes that compute for this one, by their numbers."""


class OthersWatch:
    """Notes how much other processes compute while this one is timed."""

    def __init__(self) -> None:
        self._seconds = self._others = 0.0

    @property
    def cores_busy(self) -> float:
        """How many cores others kept busy, on average over what was watched."""
        return max(0.0, self._others / self._seconds) if self._seconds > 0 else 0.0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch while entered."""
        began = self._now()
        try:
            yield
        finally:
            ended = self._now()
            seconds, of_all, own = (end - begin for begin, end in zip(began, ended, strict=True))
            self._seconds += seconds
            self._others += of_all - own

    @staticmethod
    def _now() -> tuple[float, float, float]:
        """Return the time, the seconds for which all cores were busy, and those of this process."""
        every, own = psutil.cpu_times(), 0.0
        for process in (os.getpid(), *_own):
            with suppress(psutil.NoSuchProcess):
                times = psutil.Process(process).cpu_times()
                own += times.user + times.system
        idle = every.idle + getattr(every, "iowait", 0.0)
        return time.perf_counter(), sum(every) - idle - getattr(every, "guest", 0.0), own


def is_crowded(others_busy: float, /, *, threads: int) -> bool:
    """Whether others need cores that `threads` threads are timed on: together they are more than there are.

    >>> is_crowded(0.1, threads=1)
    False
    """
    return others_busy + min(threads, n_cores()) > n_cores() + _SLACK


def n_cores() -> int:
    """Return how many cores there are."""
    return os.cpu_count() or 1


_SLACK = 0.25
"""Cores' worth of what always runs."""
