"""The work of a planned sweep, from its place in the store to its answer: of the command and of Python alike."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from effbench.plan.point import Point
from effbench.plan.sweep import Sweep
from effbench.run.dropping import Use, use_of
from effbench.run.interruption import open_until_closed
from effbench.run.outcomes import STORAGE_ERRORS, CannotBegin, Executor, Observer, Outcomes
from effbench.run.store import Store
from effbench.sweep.answer import give_answer
from effbench.sweep.carry_out import Display, SweepOutcome, carry_out
from effbench.sweep.messages import say
from effbench.sweep.printout import Printout
from effbench.tracking.experiment import why_refused
from effbench.tracking.location import for_writing
from effbench.tracking.tracker import Tracker, TrackingError


class Refused(ValueError):  # noqa: N818 (what happened, before anything began)
    """A sweep whose store or tracker can't be used."""


class Stopped(RuntimeError):  # noqa: N818 (what happened: the sweep can be gone on with)
    """A sweep that could not go on: the store can't be written, or the tracker is gone."""


@dataclass(frozen=True, kw_only=True)
class Worked:
    """What came of a sweep."""

    sweep: Sweep
    """With the points that refining added."""
    outcome: SweepOutcome
    printout: Printout
    is_logged: bool
    """Whether the tracker has all of it."""

    @property
    def is_whole(self) -> bool:
        """Whether all that was asked for is there, and logged."""
        return self.is_logged and self.outcome.is_whole


@contextmanager
def place_of(sweep: Sweep, /) -> Iterator[tuple[Use, str]]:
    """Give a sweep its place in the store, and the URI of its tracker, while no other process has it.

    Refused, in one line, where store or tracker can't be used; Stopped for what goes wrong while it is at work.
    """
    try:
        uri = for_writing(sweep.tracking.uri)
        wrong = why_refused(uri, sweep.tracking.experiment, sweep.tracking.artifacts)
        if wrong is not None:
            raise ValueError(wrong)
        store = Store(Path(sweep.store.root), limit=sweep.store.limit_bytes)
    except ValueError as error:
        raise Refused(str(error)) from None
    try:
        store.clear_unfinished()
        with store.lock(f"sweep-{sweep.plan.sweep_id}", waiting=_say_waiting), use_of(store, by=sweep) as use:
            yield use, uri
    except CannotBegin as error:
        raise Refused(str(error)) from None
    except TrackingError as error:
        what = str(error)
    except OSError as error:
        is_full = error.errno in STORAGE_ERRORS
        what = f"store.root={store.root}: can't be written ({error.strerror})" if is_full else str(error)
    else:
        return
    raise Stopped(f"{what}; what was finished is kept, and the same command goes on from there")


def work(sweep: Sweep, use: Use, uri: str, display: Display, /, *, shows: bool) -> Worked:
    """Run a sweep, log it, and say what came out. shows: whether the answer is printed."""
    store, began = use.store, time.time()
    with ExitStack() as until_the_end:
        execute = until_the_end.enter_context(_telling_callbacks(sweep, _executor(sweep, store)))
        # Both are closed: what only follows the runs does not end them where it has not begun.
        with (
            display,
            closing(execute(sweep.plan.points, store, sweep.device, display)) as computed,
            closing(use.follow(computed)) as runs,
        ):
            from effbench.tracking.write import MlflowTracker  # takes seconds, in which workers run already

            tracker = MlflowTracker(uri, sweep.tracking.experiment, artifacts=sweep.tracking.artifacts)
            until_the_end.enter_context(_abandoned_on_error(tracker))
            more = partial(_computing, use=use, execute=execute, display=display)
            outcome = carry_out(sweep, store, tracker, display, runs, began=began, computing=more)
        sweep = sweep if outcome.refined is None else outcome.refined.sweep
        printout, is_logged = give_answer(sweep, outcome, store, tracker, shows=shows)
    return Worked(sweep=sweep, outcome=outcome, printout=printout, is_logged=is_logged)


@contextmanager
def _computing(
    sweep: Sweep, points: Sequence[Point], *, use: Use, execute: Executor, display: Display
) -> Iterator[Outcomes]:
    """Compute further points of a sweep, which has them among its own, while entered."""
    use.extend(sweep)
    with closing(execute(points, use.store, sweep.device, display)) as computed, closing(use.follow(computed)) as runs:
        yield runs


@contextmanager
def _abandoned_on_error(tracker: Tracker) -> Iterator[None]:
    """See to it that what does not come to its end says so."""
    with open_until_closed(tracker.abandon_sweep):
        try:
            yield
        except BaseException:
            with suppress(TrackingError):
                tracker.abandon_sweep()
            raise


def _executor(sweep: Sweep, store: Store) -> Executor:
    """Return what runs the points: a launcher of Hydra's if the command names one, else effbench itself."""
    if sweep.launcher:
        from effbench.config.launcher import run_by_launcher

        run = partial(run_by_launcher, overrides=sweep.launcher, folders=sweep.config_folders)
        return partial(run, timeout=sweep.timeout, jobs=sweep.jobs)
    from effbench.run.executors import choose_executor

    choose = partial(choose_executor, jobs=sweep.jobs, timeout=sweep.timeout)
    of_the_grid = choose(sweep.plan.points, store, sweep.device)  # at once: workers begin while this process imports

    def execute(points: Sequence[Point], store: Store, device: torch.device, observer: Observer) -> Outcomes:
        is_grid = points is sweep.plan.points
        run = of_the_grid if is_grid else choose(points, store, device)  # of a grid that was kept it is this process
        return run(points, store, device, observer)

    return execute


@contextmanager
def _telling_callbacks(sweep: Sweep, execute: Executor) -> Iterator[Executor]:
    """Have the callbacks of Hydra's that the command names told of the sweep and its runs."""
    if not sweep.callbacks:
        yield execute
        return
    from effbench.config.callbacks import telling

    with telling(sweep.callbacks, execute) as told:
        yield told


def _say_waiting() -> None:
    say("another process runs the same sweep; waiting for it")
