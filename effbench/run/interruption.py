"""Ctrl-C and SIGTERM: noted, then looked at where the command can stop; what does not get there in time is ended.

An exception that a signal's handler raises can be lost (in a callback of the garbage collector, in an import that
catches everything) or come in the middle of a commit. So the handler raises nothing: a thread ends the processes that
compute, and gives the command a moment to come to a `check` and close what it has open. This module imports nothing
heavy: it is the first that the command needs.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from effbench.run.children import end_children

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells give it."""
MESSAGE = "interrupted; the same command goes on where this one stopped"
GRACE_SECONDS = 0.8
"""How long the command may take to close what it has open by itself."""
CLOSING_SECONDS = 0.6
"""How long its closing may take when it is done for it."""
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_SHOW_CURSOR = b"\x1b[?25h"

_requested = threading.Event()
_answered = threading.Event()
_ending = threading.Lock()
_open: list[Callable[[], object]] = []


def heed() -> None:
    """Heed the signals from now on, in this process; those that whoever began it has ignored stay ignored."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    numbers = set[int]()
    for name in _SIGNALS:
        number = getattr(signal, name, None)  # not every system has all
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _note)
            numbers.add(int(number))
    # Written at once by whatever the main thread does, in machine code too: a handler in Python may come seconds later.
    signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader, numbers), name="interruption", daemon=True).start()


def was_requested() -> bool:
    """Whether this process was asked to stop: those that it began are ended then."""
    return _requested.is_set()


def check() -> None:
    """Stop here if that was asked for: KeyboardInterrupt."""
    if _requested.is_set():
        raise KeyboardInterrupt


@contextmanager
def open_until_closed(close: Callable[[], object], /) -> Iterator[None]:
    """Give the command time to come to a `check` while entered, and call `close` for it where it does not."""
    _open.append(close)
    try:
        yield
    finally:
        _open.remove(close)


def _note(number: int, frame: object) -> None:
    """Let the thread run that reads what the signal wrote: machine code that asks for signals would keep it waiting."""
    _answered.wait(GRACE_SECONDS)


def _wait(reader: socket.socket, numbers: set[int]) -> None:
    """Wait for one of these signals. Others that a handler in Python is for are told of as well: a child that ended."""
    while reader.recv(1)[0] not in numbers:
        pass


def _watch(reader: socket.socket, numbers: set[int]) -> None:
    """Wait for a signal, then end the command: by itself if it can, at once after a second signal."""
    _wait(reader, numbers)
    _requested.set()
    end_children()
    if _open:
        _answered.set()
        reader.settimeout(GRACE_SECONDS)
        with suppress(TimeoutError):
            _wait(reader, numbers)
            end_now()
        _close_for_it()
    end_now(MESSAGE)


def _close_for_it() -> None:
    """Close what is open, newest first, if that takes no longer than it may."""

    def close() -> None:
        for one in reversed(list(_open)):
            with suppress(Exception):  # the command ends, whatever comes of it
                one()

    thread = threading.Thread(target=close, daemon=True)
    thread.start()
    thread.join(CLOSING_SECONDS)


def end_now(message: str = "") -> NoReturn:
    """End this process and those that it began, without what Python would do at its end, which may take seconds."""
    _ending.acquire()  # never released: whoever comes second waits for the end
    end_children()
    with suppress(Exception):
        from effbench.run.forkserver import take_folder_away

        take_folder_away(os.getpid())
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # a pipe that nobody reads
            stream.flush()
    with suppress(OSError):
        if os.isatty(2):
            os.write(2, b"\r" + _SHOW_CURSOR)
        if message:
            os.write(2, f"effbench: {message}\n".encode())
    os._exit(INTERRUPTED)
