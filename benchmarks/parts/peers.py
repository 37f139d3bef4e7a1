"""NNCodec, zstandard and ZipNN, which want an environment of their own (numpy < 2)."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SCRIPT = Path(__file__).parent / "stream.py"
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Stream:
    """What a peer makes of arrays."""

    n_bytes: int
    write_seconds: float
    read_seconds: float
    back: Arrays
    """What came back; nothing of a coder without loss, which has been checked."""


def stream_of(interpreter: str, name: str, arrays: Arrays, **options: object) -> Stream:
    """Return what a peer makes of arrays. RuntimeError, with its last line, where it fails or is not installed."""
    with tempfile.TemporaryDirectory() as folder:
        paths = f"{folder}/in.npz", f"{folder}/out.npz"
        np.savez(paths[0], **arrays)
        command = [interpreter, "-W", "ignore", str(_SCRIPT), *paths, name, json.dumps(options)]
        ended = subprocess.run(command, capture_output=True, text=True)
        if ended.returncode:
            raise RuntimeError(f"{name}: {ended.stderr.strip().splitlines()[-1]}")
        with np.load(paths[1]) as back:
            return Stream(*json.loads(ended.stdout.splitlines()[-1]), dict(back))
