"""Whose is what: a mark of the process that has something open, renewed while it lives.

Two commands may write the same sweep to one server, or need the same network, on two machines. What one of them has
open is none of the other's business, until its owner is dead: gone from the same machine, or silent for five minutes on
another.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

BEAT_SECONDS = 30
SILENT_SECONDS = 300


@dataclass(frozen=True)
class Owner:
    """A process. host: the machine, and what on it counts processes (a container has its own); start: when it began."""

    host: str
    process: int
    start: str

    @classmethod
    def here(cls) -> Owner:
        """Return this process."""
        return cls(_host(), os.getpid(), start_of(os.getpid()) or "")

    @classmethod
    def of_text(cls, text: str, /) -> Owner | None:
        """Return the owner that a tag names; None for what is no such tag."""
        host, _, rest = text.partition(" ")
        process, _, start = rest.partition(" ")
        return cls(host, int(process), start) if host and process.isdecimal() else None

    def __str__(self) -> str:
        return f"{self.host} {self.process} {self.start}"

    @property
    def digest(self) -> str:
        """A short name, for what takes no whole one."""
        return hashlib.sha256(str(self).encode()).hexdigest()[:12]

    @property
    def is_gone(self) -> bool | None:
        """Whether the process is gone; None where another machine would have to be asked.

        A process of the same number that began at another time is another one.
        """
        if self.host != _host():
            return None
        start = start_of(self.process)
        return start is None or (bool(self.start) and start != self.start)

    def is_alive(self, heard: float, now: float) -> bool:
        """Whether the process lives that was last heard of at one time, at another (seconds); the same host knows."""
        is_gone = self.is_gone
        return now - heard <= SILENT_SECONDS if is_gone is None else not is_gone


def beat(owner: Owner, now: float, /) -> str:
    """Return an owner's mark: who it is, and when it was heard of (seconds since 1970)."""
    return f"{now:.0f} {owner}"


def read_beat(mark: str, /) -> tuple[Owner, float] | None:
    """Return the owner that `beat` has written, and when it was heard of; None for what is no such mark."""
    seconds, _, text = mark.partition(" ")
    owner = Owner.of_text(text) if seconds.isdecimal() else None
    return None if owner is None else (owner, float(seconds))


class Heartbeat:
    """Calls something every half a minute, in a thread of its own, until it is stopped; what that raises is let pass.

    The next beat is tried in any case: a server that is away for a while is no reason to fall silent.
    """

    def __init__(self, beat: Callable[[], None], /, *, seconds: float = BEAT_SECONDS) -> None:
        """Begin; the first beat is the caller's own."""
        self._beat, self._seconds = beat, seconds
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True, name="effbench-heartbeat")
        self._thread.start()

    def stop(self) -> None:
        """Stop; a beat that hangs is not waited for."""
        self._is_over.set()
        if self._thread is not threading.current_thread():
            self._thread.join(1)

    def _go_on(self) -> None:
        while not self._is_over.wait(self._seconds):
            with suppress(Exception):
                self._beat()


def start_of(process: int, /) -> str | None:
    """Return when a process began, in words that are only compared; None where there is none of that number."""
    try:
        # The name, in brackets, may hold anything; the start is the 20th field after it, in ticks since the boot.
        fields = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else f"{_boot()}-{fields[19]}"
    except (OSError, IndexError):
        return None if Path("/proc/self/stat").exists() else _start_elsewhere(process)


def _start_elsewhere(process: int) -> str | None:
    """Return likewise where there is no /proc."""
    with suppress(psutil.Error):
        return f"{psutil.Process(process).create_time():.0f}"
    return None


def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    return ""


def _host() -> str:
    """Return the machine's name, with what tells containers of one name apart."""
    name = "".join(socket.gethostname().split()) or "unknown"
    with suppress(OSError):
        return f"{name}/{os.readlink('/proc/self/ns/pid').strip('pid:[]')}"
    return name
