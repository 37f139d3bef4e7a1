"""The time that a step takes, without what is done meanwhile for others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Runs from when it is made; stands still while it is paused."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._paused = 0.0
        self._n_pauses = 0

    @property
    def seconds(self) -> float:
        """The time so far, pauses left out."""
        return time.perf_counter() - self._started - self._paused

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what is done while entered; a pause within a pause counts once."""
        began = time.perf_counter()
        self._n_pauses += 1
        try:
            yield
        finally:
            self._n_pauses -= 1
            if self._n_pauses == 0:
                self._paused += time.perf_counter() - began
