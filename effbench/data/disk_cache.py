"""Arrays that are computed once and kept in files: written whole or not at all, checked, made again where damaged.

An entry is a folder `<root>/<key>`: the arrays as plain bytes, and `about.json` with their shapes and checksums. It is
written when something of it is first asked for, so that a plan writes nothing. Two processes that want the same one at
once wait for each other; what was killed leaves a folder that the next one removes.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from effbench.checks.locks import file_lock
from effbench.checks.sizes import shown_size
from effbench.checks.stamps import stamp_of
from effbench.data.paths import remark, shown

DEFAULT_ROOT = ".effbench/data"
"""In the working folder, beside what else is kept there."""
_ABOUT = "about.json"
_VERSION = 1
_CHUNK_BYTES = 2**24


@dataclass(frozen=True, eq=False)
class ArrayToStore:
    """What an array will be, and what gives its content from the first byte on, in pieces of any size."""

    dtype: str
    shape: tuple[int, ...]
    pieces: Callable[[], Iterable[np.ndarray]] = field(repr=False)

    @property
    def n_bytes(self) -> int:
        """How long its file is."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, eq=False)
class DiskEntry:
    """Arrays by name, in a folder."""

    folder: Path
    arrays: Mapping[str, ArrayToStore]
    """In the order in which they are written."""

    @classmethod
    def planned(cls, root: str | None, key: str, arrays: Mapping[str, ArrayToStore], /, *, what: str) -> DiskEntry:
        """Return an entry that may not be there yet. root: None: `DEFAULT_ROOT`.

        what: said of one that is not, before it is. ValueError where there is no room for it.
        """
        place = Path(DEFAULT_ROOT if root is None else root).expanduser().absolute()
        entry = cls(place / key, arrays)
        if not entry.is_there:
            entry._check_room()
            remark(f"data: {what} take {shown_size(entry.n_bytes)} of disk, in {shown(entry.folder)}")
        return entry

    @property
    def is_there(self) -> bool:
        """Whether it was written; unchecked."""
        return (self.folder / _ABOUT).exists()

    @property
    def n_bytes(self) -> int:
        """How long its files are, together."""
        return sum(array.n_bytes for array in self.arrays.values())

    @cached_property
    def paths(self) -> dict[str, Path]:
        """The files of the arrays, which are written where they are not there, or not as they were written.

        ValueError names a folder that can't be written, and says when the disk is full. What the pieces raise goes on,
        and leaves nothing behind.
        """
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with file_lock(self.folder.with_name(f"{self.folder.name}.lock")):
                if not self._is_whole():
                    self._write()
        except OSError as error:
            raise self._refusal(f"can't be written ({shown(error.strerror or error)})") from None
        return {name: self._path(name) for name in self.arrays}

    def __getstate__(self) -> dict[str, object]:
        """Go to another process, which looks itself whether the files are there."""
        return {"folder": self.folder, "arrays": self.arrays}

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.bin"

    def _check_room(self) -> None:
        place = next(place for place in self.folder.parents if place.exists())
        free = shutil.disk_usage(place).free
        if self.n_bytes > free:
            raise self._refusal(f"{shown_size(self.n_bytes)} are needed, and {shown_size(free)} are free")

    def _refusal(self, why: str) -> ValueError:
        return ValueError(
            f"data.cache=disk: data.cache_root={shown(self.folder.parent)}: {why}; make room, name another folder, or "
            "give data.cache=none"
        )

    def _is_whole(self) -> bool:
        """Whether the files are there as they were written; those that are not are removed, and said to be damaged."""
        if not self.folder.exists():
            return False
        about = self.folder / _ABOUT
        try:
            kept = json.loads(about.read_bytes())
            are_right = kept == self._about(kept["checksums"]) and all(
                self._path(name).stat().st_size == array.n_bytes
                and _checksum(self._path(name)) == kept["checksums"][name]
                for name, array in self.arrays.items()
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            are_right = False
        if not are_right:
            if about.exists():  # else it was cleared
                remark(f"{shown(self.folder)} is damaged: it is written again")
            shutil.rmtree(self.folder) if self.folder.is_dir() else self.folder.unlink()
        return are_right

    def _about(self, checksums: Mapping[str, str]) -> dict[str, object]:
        arrays = {name: {"dtype": array.dtype, "shape": list(array.shape)} for name, array in self.arrays.items()}
        return {"version": _VERSION, "arrays": arrays, "checksums": checksums}

    def _write(self) -> None:
        self._check_room()
        unfinished = self.folder.with_name(f".{self.folder.name}.part")
        shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed: the lock is ours
        try:
            unfinished.mkdir()
            checksums = {
                name: _write_array(unfinished / self._path(name).name, array) for name, array in self.arrays.items()
            }
            (unfinished / _ABOUT).write_text(json.dumps(self._about(checksums)))
            os.replace(unfinished, self.folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise


def _write_array(path: Path, array: ArrayToStore) -> str:
    """Write the pieces, one after the other, and return their checksum; a mapped file would end us on a full disk."""
    digest, n_bytes = hashlib.sha256(), 0
    with open(path, "wb") as file:
        for piece in array.pieces():
            content = np.ascontiguousarray(piece, dtype=array.dtype).tobytes()
            digest.update(content)
            n_bytes += file.write(content)
        file.flush()
        os.fsync(file.fileno())
    assert n_bytes == array.n_bytes
    return digest.hexdigest()


def _checksum(path: Path) -> str:
    return _checksum_of(path, *stamp_of(path))


@cache
def _checksum_of(path: Path, *_stamp: int) -> str:
    """Return the checksum of a file, read once in a process as long as it is not written."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while content := file.read(_CHUNK_BYTES):
            digest.update(content)
    return digest.hexdigest()
