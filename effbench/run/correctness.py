"""Which examples a network had right, as a small file: eight examples a byte."""

from __future__ import annotations

import io

import numpy as np


def pack_correctness(*, val: np.ndarray, test: np.ndarray) -> bytes:
    """Return the correctness of the validation and of the test examples, each (n_examples,) bool, as an npz file."""
    stream = io.BytesIO()
    np.savez(
        stream,
        val=np.packbits(val),
        n_val=np.array(len(val)),
        test=np.packbits(test),
        n_test=np.array(len(test)),
    )
    return stream.getvalue()


def unpack_correctness(content: bytes, /) -> tuple[np.ndarray, np.ndarray]:
    """Return the correctness of the validation and of the test examples, each (n_examples,) bool."""
    with np.load(io.BytesIO(content), allow_pickle=False) as bits:
        val, test = (
            np.unpackbits(bits[split], count=int(bits[f"n_{split}"])).astype(bool) for split in ("val", "test")
        )
    return val, test
