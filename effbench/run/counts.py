"""The counts of every example, as a small file: what the quality of a run follows from, and its interval."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

_WIDTHS = (np.uint8, np.uint16, np.uint32, np.uint64)


def pack_counts(*, val: NDArray[np.int64], test: NDArray[np.int64]) -> bytes:
    """Return the counts of the validation and of the test examples as an npz file, without pickle.

    Each is (n_examples, n_ratios, 2), whole numbers of at least 0: numerators and denominators.
    """
    stream = io.BytesIO()
    np.savez_compressed(stream, val=_narrowed(val), test=_narrowed(test))
    return stream.getvalue()


def unpack_counts(content: bytes, /) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the counts of the validation and of the test examples, (n_examples, n_ratios, 2) each."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return arrays["val"].astype(np.int64), arrays["test"].astype(np.int64)


def _narrowed(counts: NDArray[np.int64]) -> NDArray[np.unsignedinteger]:
    """Return the counts in the smallest type that holds them all."""
    largest = int(counts.max(initial=0))
    return counts.astype(next(width for width in _WIDTHS if largest <= np.iinfo(width).max))
