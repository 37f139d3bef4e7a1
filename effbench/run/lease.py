"""A lease: who computes what a key names, told in a file, so that processes on any machines that share a folder know.

Within a machine a lock on a file lets one process in, and is given back when that dies. Between machines such locks
hold where the file system has them, and not on every one: there the lease counts, a file that only one can create. Its
holder renews it every half a minute; one that is dead (gone from this machine, or silent for five minutes on another)
loses it to whoever comes next. Where all fails, as when a machine was asleep, two compute the same bits.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import filelock

from effbench.checks.locks import file_lock
from effbench.checks.owner import SILENT_SECONDS, Heartbeat, Owner, beat, read_beat

SUFFIX = ".lease"
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""Seconds after which somebody else's lease is looked at again: more and more of them."""
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What file systems of networks answer that know no locks."""


@contextmanager
def held(folder: Path, key: str, /, *, waits: bool, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lease of `key` while entered. One that does not wait raises `filelock.Timeout` where it is taken.

    waiting: is called, once, where another process has it.
    """
    told: list[bool] = []

    def say() -> None:
        if not waits:
            raise filelock.Timeout(key)
        if not told and waiting is not None:
            waiting()
        told.append(True)

    lock = file_lock(folder / f"{key}.lock")
    lease = _Lease(folder / f"{key}{SUFFIX}")
    try:
        _take_lock(lock, say)
        pause = FIRST_PAUSE
        while not lease.take():
            say()
            time.sleep(pause)
            pause = min(LONGEST_PAUSE, 1.5 * pause)
        try:
            yield
        finally:
            lease.give_back()
    finally:
        lock.release(force=True)


def _take_lock(lock: filelock.BaseFileLock, say: Callable[[], None]) -> None:
    """Take the lock of the file system, where it has such a thing."""
    try:
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            say()
            lock.acquire()
    except NotImplementedError:
        return
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise


@dataclass
class _Lease:
    """The file that says who has it. Its content is its owner's mark; it was heard of when it was last touched."""

    path: Path
    _mine: bytes = b""
    _heartbeat: Heartbeat | None = field(default=None, repr=False)

    def take(self) -> bool:
        """Take it, unless a process has it that lives; whether that was so."""
        mine = f"{beat(Owner.here(), time.time())}\n{secrets.token_hex(8)}\n".encode()
        for _ in range(2):
            with suppress(FileExistsError):
                handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
                with os.fdopen(handle, "wb") as stream:
                    stream.write(mine)
                self._mine, self._heartbeat = mine, Heartbeat(self._beat)
                return True
            if not self._clear_away():
                return False
        return False

    def give_back(self) -> None:
        """Let others have it; one that was lost to somebody else stays theirs."""
        if self._heartbeat is not None:
            self._heartbeat.stop()
        with suppress(OSError):  # the folder may be gone; what is left is found to be nobody's
            if self.path.read_bytes() == self._mine:
                self.path.unlink()

    def _beat(self) -> None:
        if self.path.read_bytes() == self._mine:
            os.utime(self.path)

    def _clear_away(self) -> bool:
        """Delete the lease of a process that is dead; False where it lives."""
        try:
            with self.path.open("rb") as stream:
                content, heard = stream.read(), os.fstat(stream.fileno()).st_mtime
        except FileNotFoundError:
            return True
        if self._lives(content, heard):
            return False
        # Renamed first: of several that find it dead, one has it.
        grave = self.path.with_name(f".{self.path.name}-{secrets.token_hex(8)}.part")
        with suppress(FileNotFoundError):
            self.path.rename(grave)
            if grave.read_bytes() != content:  # somebody was quicker, and has it already
                with suppress(FileExistsError):
                    os.link(grave, self.path)
            grave.unlink()
        return True

    def _lives(self, content: bytes, heard: float) -> bool:
        """Whether whoever wrote a lease is alive; one who is cut short in that is judged by its age."""
        known = read_beat(content.decode(errors="replace").partition("\n")[0])
        now = self._now()
        return now - heard <= SILENT_SECONDS if known is None else known[0].is_alive(heard, now)

    def _now(self) -> float:
        """Return the time by the clock that files are dated by: that of the server which has them."""
        beside = self.path.with_suffix(".lock")
        try:
            os.utime(beside)
            return beside.stat().st_mtime
        except OSError:  # it is somebody else's
            return time.time()
