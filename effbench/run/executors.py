"""How points are run: one after the other in this process, or several at once in workers. Same bits either way."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import partial

import torch

from effbench.plan.point import Point
from effbench.run.forkserver import begin_server
from effbench.run.interruption import check
from effbench.run.one import run_point
from effbench.run.outcomes import Executor, Observer, Outcome, Outcomes, RunError
from effbench.run.parcel import why_not_sent
from effbench.run.results import is_kept
from effbench.run.store import Store
from effbench.run.workers import run_in_workers
from effbench.training.curves import Row

log = logging.getLogger(__name__)


def run_here(points: Sequence[Point], store: Store, device: torch.device, observer: Observer) -> Outcomes:
    """Run the points in this process, in their order; yield each with its result or its error."""
    n_threads = torch.get_num_threads()  # runs have their own number
    try:
        yield from _run_here(points, store, device, observer)
    finally:
        torch.set_num_threads(n_threads)


def _run_here(points: Sequence[Point], store: Store, device: torch.device, observer: Observer) -> Outcomes:
    for point in points:
        check()
        observer.run_started(point)

        def progress(step: str, done: int, total: int, point: Point = point) -> None:
            observer.step(point, step, done, total)

        def tell(row: Row, point: Point = point) -> None:
            observer.epoch_ended(point, row)

        def begin(seconds: float, point: Point = point) -> None:
            observer.run_began(point, seconds)

        result: Outcome
        try:
            result = run_point(point, store, device=device, progress=progress, tell=tell, begin=begin)
        except (Exception, SystemExit) as error:  # whatever a network or a stage raises: the other runs go on
            result = RunError.of(error)
        observer.run_computed(point)
        yield point, result


def choose_executor(
    points: Sequence[Point], store: Store, device: torch.device, *, jobs: int | None, timeout: float | None = None
) -> Executor:
    """Return what runs the points: workers; this process, where all are kept or one job is asked for.

    Each run keeps to its own number of threads: `jobs` None means as many workers as fit the cores; one on a GPU. A run
    that takes longer than `timeout` seconds is ended, for which it needs a worker.
    """
    n_missing = sum(not is_kept(point.key, store) for point in points)
    if n_missing == 0 or (jobs == 1 and timeout is None):
        return run_here
    unsent = why_not_sent(points)
    if unsent is not None:
        log.warning("%s: all runs are computed in this process, one after the other", unsent)
        return run_here
    if jobs is None:
        threads = max((point.chain.threads for point in points), default=1)
        jobs = 1 if device.type != "cpu" else max(1, (os.cpu_count() or 1) // threads)
    begin_server()
    return partial(run_in_workers, n_workers=min(jobs, n_missing), timeout=timeout)
