"""A function called in a process of its own: what it does to memory, or to the process, stays there."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar, cast

from effbench.run.forkserver import start, worker_context
from effbench.run.interruption import check
from effbench.run.outcomes import RunError
from effbench.run.parcel import Parcel
from effbench.run.workers import end_with_parent, how_ended

T = TypeVar("T")


class ProcessDied(RuntimeError):  # noqa: N818 (what happened, as in multiprocessing.ProcessError's kin)
    """The process ended before its function did: killed, crashed, out of memory."""

    def __init__(self, exit_code: int) -> None:
        """Note how it ended: a negative code is that of a signal."""
        super().__init__(f"its process died ({how_ended(exit_code)})")
        self.exit_code = exit_code


def call_apart(function: Callable[..., T], /, *args: Any, report: Callable[..., None] | None = None) -> T:
    """Return `function(*args, report=…)`, called in a child process.

    The function must be importable; what it takes and returns is sent between processes. It may call its `report` with
    anything, upon which `report` is called with that here. RunError, with the traceback, is raised where the function
    raises; ProcessDied where the process dies. It is killed when whoever waits for it is interrupted, and ends by
    itself when its parent is gone.
    """
    context = worker_context()
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(theirs, Parcel.of(args), function, args), daemon=False)
    try:
        start(process)
        theirs.close()
        while True:
            wait([ours, process.sentinel])
            message = _received(ours)
            if message is None:
                check()  # before one that was ended for that is taken for dead
                process.join()
                raise ProcessDied(process.exitcode or 0)
            kind, content = message
            if kind == _ERROR:
                raise content
            if kind == _RESULT:
                process.join(_SECONDS_TO_END)  # what it shares with processes of its own is given back as it ends
                return cast(T, content)
            if report is not None:
                report(*content)
    finally:
        ours.close()
        if process.pid is not None:
            process.kill()
            process.join()


_SECONDS_TO_END = 5
_RESULT, _ERROR, _REPORT = "result", "error", "report"


def _received(connection: Connection) -> tuple[str, Any] | None:
    """Return what was sent; None if nothing was, or not all of it: the process has ended."""
    try:
        return cast(tuple[str, Any], connection.recv()) if connection.poll() else None
    except (EOFError, OSError):
        return None


def _serve(connection: Connection, parcel: Parcel, function: Callable[..., object], args: tuple[Any, ...]) -> None:
    """Call the function, and send what it reports, and how it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits
    threading.Thread(target=end_with_parent, daemon=True).start()
    gc.freeze()  # what was there before the fork is no garbage: searching it would copy all of its pages

    def report(*values: object) -> None:
        connection.send((_REPORT, values))

    message: tuple[str, object]
    try:
        parcel.open()
        message = _RESULT, function(*args, report=report)
    except (Exception, SystemExit) as error:
        message = _ERROR, RunError.of(error)
    connection.send(message)
