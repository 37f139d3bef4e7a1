"""A ceiling for the store: the snapshots that were not used for longest make room for new ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from effbench.run.entry import entry_path
from effbench.run.sweep_records import needed_by_unfinished, read_records

SNAPSHOTS = ("models", "tensors", "checkpoints")
"""Folders of entries that can be made again: never results, their files and counts, nor what was measured."""
_WRITERS = 2 * (os.cpu_count() or 1)

_unseen: dict[Path, float] = {}
"""Bytes that this process may yet write into a store before it looks at it again."""


def make_room(root: Path, limit: int, /, *, written: int | None = None) -> int:
    """Delete the snapshots that were not used for longest until the store is within `limit`; return the bytes over it.

    What a sweep needs that is not finished stays. written: bytes that this process has just added; as long as all
    writers of the machine together can't have reached the limit since it last looked, the store is not searched.
    """
    if written is not None:
        _unseen[root] = _unseen.get(root, 0) - written
        if _unseen[root] > 0:
            return 0
    decoded = root / "data"  # data sets, which `data.cache=disk` has put there: networks make no room for them
    over = sum(status.st_size for path, status in files_in(root) if decoded not in path.parents) - limit
    if over > 0:
        records, _ = read_records(root)
        needed = needed_by_unfinished(records, root)
        for path, n_bytes in _unneeded(root, needed):
            if over <= 0:
                break
            with suppress(OSError):  # another process was quicker, or it is somebody else's
                path.unlink()
                over -= n_bytes
    _unseen[root] = max(0, -over) / _WRITERS
    return max(0, over)


def files_in(folder: Path, /) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the files in a folder and below; links are not followed."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        with suppress(FileNotFoundError):
            if entry.is_dir(follow_symlinks=False):
                yield from files_in(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                yield Path(entry.path), entry.stat(follow_symlinks=False)


def network_of(name: str, /) -> str:
    """Return the key of the network that a snapshot is of, by the name of its file: tensors have more in theirs."""
    return name.partition("-")[0]


def _unneeded(root: Path, needed: set[str]) -> list[tuple[Path, int]]:
    """Return snapshots that no unfinished sweep needs, with their bytes; first what was not used for longest."""
    found = [
        (status.st_mtime, path, status.st_size)
        for folder in SNAPSHOTS
        for path, status in files_in(entry_path(root, folder))
        if network_of(path.name) not in needed and not path.name.startswith(".")
    ]
    return [(path, n_bytes) for _, path, n_bytes in sorted(found)]
