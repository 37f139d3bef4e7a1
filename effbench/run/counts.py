"""What is kept of every example, as a small file: the counts of a run's quality, and what test examples tell beside."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from effbench.checks.errors import kind_and_line

_WIDTHS = (np.uint8, np.uint16, np.uint32, np.uint64)
MOST_BYTES = 2**30
"""Of one split's counts: what claims to have more is taken for damaged. A million examples of 64 ratios have less."""
_DAMAGED = (ValueError, KeyError, EOFError, OSError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What zipfile and numpy raise of content that is no npz file, is cut off, encrypted or compressed in another way."""


_KNOWN: dict[str, np.dtype[Any]] = {
    "group": np.dtype(np.int64),
    "confidence": np.dtype(np.float32),
    "is_right": np.dtype(np.bool_),
}
"""What a task may know of each test example beside its counts, and how it is kept: (n_examples,)."""


def pack_counts(
    *, val: NDArray[np.int64], test: NDArray[np.int64], test_examples: Mapping[str, NDArray[Any]] | None = None
) -> bytes:
    """Return the counts of the validation and of the test examples as an npz file, without pickle.

    Each is (n_examples, n_ratios, 2), whole numbers of at least 0: numerators and denominators. test_examples: what
    else is known of each test example, (n_examples,): its "group" (such as its class), the "confidence" in what was
    predicted, whether that "is_right"; other names, and what is of another shape, are not kept.
    """
    known = {name: np.asarray(values) for name, values in (test_examples or {}).items() if name in _KNOWN}
    beside = {
        f"test_{name}": values.astype(_KNOWN[name]) for name, values in known.items() if values.shape == test.shape[:1]
    }
    stream = io.BytesIO()
    arrays: dict[str, Any] = {"val": _narrowed(val), "test": _narrowed(test), **beside}
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def unpack_counts(content: bytes, /) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the counts of the validation and of the test examples, (n_examples, n_ratios, 2) each.

    ValueError, in one line, for anything that `pack_counts` did not write.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            val, test = (_read_counts(archive, f"{split}.npy") for split in ("val", "test"))
    except _DAMAGED as error:
        raise ValueError(f"these are no counts of examples, or damaged ones ({kind_and_line(error)})") from None
    return val, test


def unpack_test_examples(content: bytes, /) -> dict[str, NDArray[Any]]:
    """Return what else is known of each test example, (n_examples,), under the names that `pack_counts` keeps.

    ValueError, in one line, for anything that `pack_counts` did not write.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            n_examples = len(_read_counts(archive, "test.npy"))
            there = [name for name in _KNOWN if f"test_{name}.npy" in archive.namelist()]
            return {name: _read_known(archive, name, n_examples) for name in there}
    except _DAMAGED as error:
        raise ValueError(f"these are no examples, or damaged ones ({kind_and_line(error)})") from None


def _read_known(archive: zipfile.ZipFile, name: str, n_examples: int) -> NDArray[Any]:
    values = _read(archive, f"test_{name}.npy", (_KNOWN[name],), n_dimensions=1)
    if len(values) != n_examples:
        raise ValueError(f"there are {n_examples} examples, and a {name} of {len(values)}")
    return values


def _read_counts(archive: zipfile.ZipFile, name: str) -> NDArray[np.int64]:
    counts = _read(archive, name, _WIDTHS, n_dimensions=3)
    if counts.shape[2] != 2:
        raise ValueError(f"{name} holds {counts.dtype} {counts.shape}, not whole numbers (n, n, 2)")
    if counts.max(initial=0) > np.iinfo(np.int64).max:
        raise ValueError(f"{name} holds {counts.max()}")
    return counts.astype(np.int64)


def _read(archive: zipfile.ZipFile, name: str, dtypes: Sequence[DTypeLike], *, n_dimensions: int) -> NDArray[Any]:
    """Return an array of a npz file. What it says of itself is checked before memory is taken for it."""
    info = archive.getinfo(name)
    if info.file_size > MOST_BYTES:
        raise ValueError(f"{name} would have {info.file_size} bytes, the most is {MOST_BYTES}")
    stream = io.BytesIO(archive.read(info))
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"{name} has version {version} of its format")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype not in dtypes or is_fortran or len(shape) != n_dimensions:
        raise ValueError(f"{name} holds {dtype} {shape}")
    values = stream.read()
    if len(values) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} has {len(values)} bytes for {dtype} {shape}")
    return np.frombuffer(values, dtype).reshape(shape)


def _narrowed(counts: NDArray[np.int64]) -> NDArray[np.unsignedinteger]:
    """Return the counts in the smallest type that holds them all."""
    largest = int(counts.max(initial=0))
    return counts.astype(next(width for width in _WIDTHS if largest <= np.iinfo(width).max))
