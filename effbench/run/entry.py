"""An entry of the store as a file: it begins with the SHA-256 of its name and of what follows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from effbench.run.lease import held

DIGEST_BYTES = 32


def entry_path(root: Path, name: str, /) -> Path:
    """Return the file of an entry."""
    return root / "entries" / name


def entry_lock(
    root: Path, key: str, /, *, waits: bool = True, waiting: Callable[[], None] | None = None
) -> AbstractContextManager[None]:
    """Return the lock of what `key` names; one that does not wait raises `filelock.Timeout` where it is taken.

    Whoever shares the store can take it, on any machine, as far as the umask allows. waiting: is called where another
    process has it.
    """
    return held(root / "locks", key, waits=waits, waiting=waiting)


def checksum(name: str, content: bytes, /) -> bytes:
    """Return what an entry begins with. It covers the name: a file that was copied to another name is noticed."""
    digest = hashlib.sha256(f"{name}\0".encode())
    digest.update(content)
    return digest.digest()


def read_entry(root: Path, name: str, /) -> bytes | None:
    """Return the content of an entry; None where there is none. ValueError where it is damaged, or not to be read."""
    path = entry_path(root, name)
    try:
        stored = path.read_bytes()
    except FileNotFoundError:
        return None
    except (PermissionError, IsADirectoryError) as error:
        raise ValueError(f"{path} can't be read ({error.strerror})") from None
    content = stored[DIGEST_BYTES:]
    if checksum(name, content) != stored[:DIGEST_BYTES]:
        raise ValueError(f"{path} is damaged or not an entry of that name (its checksum differs)")
    return content


def read_json_entry(root: Path, name: str, /) -> dict[str, Any] | None:
    """Return an entry of JSON-able data; None where there is none. ValueError where it is damaged."""
    content = read_entry(root, name)
    if content is None:
        return None
    try:
        plain = json.loads(content)
    except ValueError:
        plain = None
    if not isinstance(plain, dict):
        raise ValueError(f"{entry_path(root, name)} is damaged (it is no JSON object)")
    return plain
