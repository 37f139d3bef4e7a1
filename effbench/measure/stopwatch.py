"""Timing single calls, in a process that is kept quiet meanwhile."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from effbench.measure.engine import Engine, Prepared

Clock = Callable[[], float]
"""Returns seconds, like time.perf_counter."""


def timed(run: Callable[[], object], engine: Engine, clock: Clock) -> Callable[[], float]:
    """Return a function that calls `run` and returns the seconds it took, synchronised on both sides.

    Where `run` is a `Prepared` with a clock of its own (`seconds`), that one is asked, and `clock` is not.
    """
    if isinstance(run, Prepared) and run.seconds is not None:
        return run.seconds

    def call() -> float:
        engine.synchronise()
        start = clock()
        run()
        engine.synchronise()
        return clock() - start

    return call


def call_for(call: Callable[[], float], seconds: float, *, at_least: int) -> list[float]:
    """Call until the calls took `seconds` together, and at least so many times. Returns the seconds of each."""
    taken: list[float] = []
    total = 0.0
    while total < seconds or len(taken) < at_least:
        taken.append(call())
        total += taken[-1]
    return taken


@contextmanager
def quiet(threads: int) -> Iterator[None]:
    """Hold torch's number of threads, and the garbage collector, while measuring."""
    threads_before, collecting = torch.get_num_threads(), gc.isenabled()
    torch.set_num_threads(threads)
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        if collecting:
            gc.enable()
