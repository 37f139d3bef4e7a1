"""Whether decoded images are held in memory, said before they are: nothing is taken that is not there."""

from __future__ import annotations

from typing import Literal, get_args

import psutil

from effbench.checks.sizes import shown_size
from effbench.data.paths import remark

Cache = Literal["memory", "disk", "none"]
KEPT_BYTES = 2**30
"""Up to this size images are kept in memory where nothing else is asked for."""

MOST_WORKERS = 256
"""Processes that read for one run."""


def check_holding(cache: object, workers: object, /) -> None:
    """Refuse what says no way to hold images, or no number of processes. ValueError."""
    if cache is not None and cache not in get_args(Cache):
        raise ValueError(f"data.cache={cache}: must be memory, disk or none, or null for what suits the size")
    if isinstance(workers, bool) or not isinstance(workers, int) or not 0 <= workers <= MOST_WORKERS:
        raise ValueError(
            f"data.workers={workers}: must be a whole number of processes, 0 or more, at most {MOST_WORKERS}"
        )


def suited_cache(n_bytes: int, /) -> Cache:
    """Return how images of so many bytes are held where nothing is asked for: as it decides no result, by the room."""
    return "memory" if n_bytes <= min(KEPT_BYTES, psutil.virtual_memory().available // 2) else "none"


def take_memory(what: str, n_bytes: int, /) -> None:
    """Say how much memory images are about to take. ValueError where less is free.

    what: the images, in words.
    """
    need = f"{what} take {shown_size(n_bytes)} of memory"
    free = int(psutil.virtual_memory().available)
    if n_bytes > free:
        raise ValueError(
            f"data.cache=memory: {need}, and {shown_size(free)} are free; give data.cache=disk, or none, with which "
            "images are read anew each time"
        )
    remark(f"data: {need}, in each process that trains or evaluates")
