"""Locks between processes, of files that whoever shares their folder may lock, too."""

from __future__ import annotations

import os
from pathlib import Path

import filelock


def file_lock(path: Path, /, *, waits: bool = True) -> filelock.BaseFileLock:
    """Return a lock on a file; one that does not wait raises `filelock.Timeout` where it is taken.

    The file has the rights that the user's umask gives: filelock itself lets no group in.
    """
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o666))
    return filelock.FileLock(path, blocking=waits)
