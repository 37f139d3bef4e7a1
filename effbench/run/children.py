"""The processes that this one began, ended: at once, whatever they do, and with them those that they began."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil


def end_children() -> None:
    """End every process that descends from this one: workers, their server, their data loaders. None is waited for.

    Those that track shared resources end by themselves, once they have freed what the others left.
    """
    import psutil

    _end([process for process in psutil.Process().children(recursive=True) if not _is_tracker(process)])


def begun_by_this() -> set[int]:
    """Return the processes that this one began, but for those that track shared resources."""
    import psutil

    return {process.pid for process in psutil.Process().children() if not _is_tracker(process)}


def end_process(pid: int, /) -> None:
    """End a process and its descendants; none is waited for."""
    import psutil

    with suppress(psutil.Error):  # it is gone already
        process = psutil.Process(pid)
        _end([process, *process.children(recursive=True)])


def _is_tracker(process: psutil.Process) -> bool:
    import psutil

    with suppress(psutil.Error):
        return any("resource_tracker" in part for part in process.cmdline())
    return False


def _end(processes: list[psutil.Process]) -> None:
    import psutil

    for process in processes:
        with suppress(psutil.Error):
            process.kill()
