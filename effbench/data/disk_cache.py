"""Arrays that are computed once and kept in files: written whole or not at all, checked, made again where damaged.

An entry is a folder `<root>/<key>`: the arrays as plain bytes, and `about.json` with their shapes and checksums. Two
processes that want the same one at once wait for each other; what was killed leaves a folder that the next one removes.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
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


@dataclass(frozen=True)
class StoredArray:
    """An array in a file: its bytes in C order, nothing else."""

    path: Path
    dtype: str
    shape: tuple[int, ...]

    @property
    def n_bytes(self) -> int:
        """How long the file is."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class ArrayToStore:
    """What an array will be, and its content from the first byte on, in pieces of any size."""

    dtype: str
    shape: tuple[int, ...]
    pieces: Iterable[np.ndarray]


def stored_arrays(root: str | None, key: str, arrays: Mapping[str, ArrayToStore], /) -> dict[str, StoredArray]:
    """Return the arrays of an entry by name; they are written where they are not there, or not as they were written.

    root: None: `DEFAULT_ROOT`. The pieces are asked for only where they are needed. ValueError names a folder that
    can't be written, and says when the disk is full; what the pieces raise goes on, and leaves nothing behind.
    """
    place = Path(DEFAULT_ROOT if root is None else root).expanduser().absolute()
    folder = place / key
    entry = {
        name: StoredArray(folder / f"{name}.bin", array.dtype, tuple(array.shape)) for name, array in arrays.items()
    }
    try:
        place.mkdir(parents=True, exist_ok=True)
        with file_lock(place / f"{key}.lock"):
            if not _is_whole(folder, entry):
                _write(folder, entry, arrays)
    except OSError as error:
        raise ValueError(
            f"data.cache=disk: data.cache_root={shown(place)}: can't be written ({shown(error.strerror or error)}); "
            "make room, name another folder, or give data.cache=none"
        ) from None
    return entry


def _is_whole(folder: Path, entry: Mapping[str, StoredArray]) -> bool:
    """Whether an entry is there as it was written; one that is not is removed, and said to be damaged."""
    if not folder.exists():
        return False
    try:
        about = json.loads((folder / _ABOUT).read_bytes())
        are_right = about == _about(entry, about["checksums"]) and all(
            array.path.stat().st_size == array.n_bytes and _checksum(array.path) == about["checksums"][name]
            for name, array in entry.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        are_right = False
    if not are_right:
        remark(f"{shown(folder)} is damaged: it is written again")
        shutil.rmtree(folder) if folder.is_dir() and not folder.is_symlink() else folder.unlink()
    return are_right


def _about(entry: Mapping[str, StoredArray], checksums: Mapping[str, str]) -> dict[str, object]:
    arrays = {name: {"dtype": array.dtype, "shape": list(array.shape)} for name, array in entry.items()}
    return {"version": _VERSION, "arrays": arrays, "checksums": checksums}


def _write(folder: Path, entry: Mapping[str, StoredArray], arrays: Mapping[str, ArrayToStore]) -> None:
    n_bytes, free = sum(array.n_bytes for array in entry.values()), shutil.disk_usage(folder.parent).free
    if n_bytes > free:
        raise ValueError(
            f"data.cache=disk: data.cache_root={shown(folder.parent)}: {shown_size(n_bytes)} are needed, and "
            f"{shown_size(free)} are free; make room, name another folder, or give data.cache=none"
        )
    remark(f"data: decoded once, {shown_size(n_bytes)}, into {shown(folder)}")
    unfinished = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed: the lock is ours
    try:
        unfinished.mkdir()
        checksums = {name: _write_array(unfinished / entry[name].path.name, array) for name, array in arrays.items()}
        (unfinished / _ABOUT).write_text(json.dumps(_about(entry, checksums)))
        os.replace(unfinished, folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _write_array(path: Path, array: ArrayToStore) -> str:
    """Write the pieces, one after the other, and return their checksum; a mapped file would end us on a full disk."""
    digest, n_bytes = hashlib.sha256(), 0
    with open(path, "wb") as file:
        for piece in array.pieces:
            content = np.ascontiguousarray(piece, dtype=array.dtype).tobytes()
            digest.update(content)
            n_bytes += file.write(content)
        file.flush()
        os.fsync(file.fileno())
    assert n_bytes == math.prod(array.shape) * np.dtype(array.dtype).itemsize
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
