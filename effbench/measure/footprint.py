"""What an engine takes before it runs anything: its library on disk, and the time to load it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

from effbench.checks.errors import first_line

_SECONDS = 120
_MEASURE = """
import importlib.metadata, json, pathlib, sys, time
located = [pathlib.Path(str(entry.locate())) for entry in importlib.metadata.files(sys.argv[1]) or ()]
n_bytes = sum(path.stat().st_size for path in {path.resolve() for path in located if path.is_file()})
began = time.perf_counter()
exec(sys.argv[2], {})
print(json.dumps([n_bytes, time.perf_counter() - began]))
"""


@dataclass(frozen=True, kw_only=True)
class Library:
    """The library that runs an engine's networks."""

    distribution: str
    """As it is installed, such as onnxruntime."""
    load: str
    """The Python statements that load it, and nothing else."""
    python: str | None = None
    """The interpreter that has it; None: this one."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What a library takes on this machine."""

    library_bytes: int
    """Of its distribution's files as they are installed, without those of the packages that it needs."""
    load_seconds: float
    """In which an interpreter that has nothing else loads it, when it was loaded before."""


def footprint_of(library: Library, /) -> Footprint:
    """Return what a library takes; it is loaded in interpreters of its own. ValueError where that can't be done.

    >>> footprint_of(Library(distribution="numpy", load="import numpy")).library_bytes > 10**6
    True
    """
    _measured(library)  # its files are read from the disk
    n_bytes, seconds = _measured(library)
    return Footprint(library_bytes=int(n_bytes), load_seconds=seconds)


def _measured(library: Library) -> tuple[float, float]:
    interpreter = [sys.executable] if library.python is None else [library.python, "-I"]  # which has its own alone
    command = [*interpreter, "-c", _MEASURE, library.distribution, library.load]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        if done.returncode != 0:
            raise ValueError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode)
        n_bytes, seconds = json.loads(done.stdout.splitlines()[-1])
    except (OSError, ValueError, IndexError, subprocess.SubprocessError) as error:
        raise ValueError(f"{library.distribution} can't be loaded: {first_line(error)}") from None
    return n_bytes, seconds
