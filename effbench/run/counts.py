"""The counts of every example, as a small file: what the quality of a run follows from, and its interval."""

from __future__ import annotations

import io
import math
import zipfile
import zlib

import numpy as np
from numpy.typing import NDArray

from effbench.checks.errors import kind_and_line

_WIDTHS = (np.uint8, np.uint16, np.uint32, np.uint64)
MOST_BYTES = 2**30
"""Of one split's counts: what claims to have more is taken for damaged. A million examples of 64 ratios have less."""
_DAMAGED = (ValueError, KeyError, EOFError, OSError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What zipfile and numpy raise of content that is no npz file, is cut off, encrypted or compressed in another way."""


def pack_counts(*, val: NDArray[np.int64], test: NDArray[np.int64]) -> bytes:
    """Return the counts of the validation and of the test examples as an npz file, without pickle.

    Each is (n_examples, n_ratios, 2), whole numbers of at least 0: numerators and denominators.
    """
    stream = io.BytesIO()
    np.savez_compressed(stream, val=_narrowed(val), test=_narrowed(test))
    return stream.getvalue()


def unpack_counts(content: bytes, /) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the counts of the validation and of the test examples, (n_examples, n_ratios, 2) each.

    ValueError, in one line, for anything that `pack_counts` did not write.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            val, test = (_read(archive, f"{split}.npy") for split in ("val", "test"))
    except _DAMAGED as error:
        raise ValueError(f"these are no counts of examples, or damaged ones ({kind_and_line(error)})") from None
    return val, test


def _read(archive: zipfile.ZipFile, name: str) -> NDArray[np.int64]:
    """Return an array of a npz file. What it says of itself is checked before memory is taken for it."""
    info = archive.getinfo(name)
    if info.file_size > MOST_BYTES:
        raise ValueError(f"{name} would have {info.file_size} bytes, the most is {MOST_BYTES}")
    stream = io.BytesIO(archive.read(info))
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"{name} has version {version} of its format")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype not in _WIDTHS or is_fortran or len(shape) != 3 or shape[2] != 2:
        raise ValueError(f"{name} holds {dtype} {shape}, not whole numbers (n, n, 2)")
    values = stream.read()
    if len(values) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} has {len(values)} bytes for {dtype} {shape}")
    counts = np.frombuffer(values, dtype).reshape(shape)
    if counts.max(initial=0) > np.iinfo(np.int64).max:
        raise ValueError(f"{name} holds {counts.max()}")
    return counts.astype(np.int64)


def _narrowed(counts: NDArray[np.int64]) -> NDArray[np.unsignedinteger]:
    """Return the counts in the smallest type that holds them all."""
    largest = int(counts.max(initial=0))
    return counts.astype(next(width for width in _WIDTHS if largest <= np.iinfo(width).max))
