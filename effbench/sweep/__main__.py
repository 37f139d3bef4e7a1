"""`python -m effbench.sweep +prune=0.1,0.5,0.9`: sweep, log, and say where compression stops being free."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from effbench.run.interruption import INTERRUPTED, MESSAGE, end_now, heed, open_until_closed
from effbench.sweep.hidden_arguments import given_arguments, hide_arguments

if TYPE_CHECKING:
    from effbench.plan.sweep import Sweep
    from effbench.run.dropping import Use
    from effbench.run.outcomes import Executor
    from effbench.run.store import Store
    from effbench.tracking.tracker import Tracker

FAILED, WRONG_INPUT = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sweep; returns the exit status: 0, 1 when runs failed, 2 for wrong input, 130 after Ctrl-C."""
    try:
        return _main(given_arguments(sys.argv[1:]) if arguments is None else arguments)
    except KeyboardInterrupt:
        return _complain(MESSAGE, INTERRUPTED)


def _main(arguments: Sequence[str], *, is_command: bool = False) -> int:
    """Run a sweep. is_command: this process is here for nothing else; its workers' server may begin at once."""
    from effbench.sweep.messages import log_to_stderr

    log_to_stderr()
    if any(argument in ("-h", "--help") for argument in arguments):
        from effbench.config.help import help_page

        try:
            print(help_page(arguments))
        except ValueError as error:
            return _complain(error, WRONG_INPUT)
        return 0
    from effbench.sweep.again import answer_again

    if answer_again(arguments):
        return 0
    if is_command:
        from effbench.run.forkserver import begin_server_for

        begin_server_for(arguments)
    from effbench.config.read import read_sweep
    from effbench.run.store import Store

    try:
        sweep = read_sweep(arguments)
    except ValueError as error:
        return _complain(error, WRONG_INPUT)
    if sweep.dry_run:
        from effbench.sweep.dry_run import print_plan

        print_plan(sweep, Store(Path(sweep.store.root), read_only=True))
        return 0
    return _run(arguments, sweep)


def _run(arguments: Sequence[str], sweep: Sweep) -> int:
    from effbench.run.dropping import use_of
    from effbench.run.outcomes import STORAGE_ERRORS
    from effbench.run.store import Store
    from effbench.tracking.experiment import why_refused
    from effbench.tracking.location import for_writing
    from effbench.tracking.tracker import TrackingError

    try:
        uri = for_writing(sweep.tracking.uri)
        wrong = why_refused(uri, sweep.tracking.experiment, sweep.tracking.artifacts)
        if wrong is not None:
            return _complain(wrong, WRONG_INPUT)
        store = Store(Path(sweep.store.root), limit=sweep.store.limit_bytes)
    except ValueError as error:
        return _complain(error, WRONG_INPUT)
    try:
        store.clear_unfinished()
        with store.lock(f"sweep-{sweep.plan.sweep_id}", waiting=_say_waiting), use_of(store, by=sweep) as use:
            return _carry_out(arguments, sweep, use, uri)
    except TrackingError as error:
        what = str(error)
    except OSError as error:
        is_full = error.errno in STORAGE_ERRORS
        what = f"store.root={store.root}: can't be written ({error.strerror})" if is_full else str(error)
    return _complain(f"{what}; what was finished is kept, and the same command goes on from there", FAILED)


def _carry_out(arguments: Sequence[str], sweep: Sweep, use: Use, uri: str) -> int:
    from effbench.sweep.again import keep_answer
    from effbench.sweep.answer import give_answer
    from effbench.sweep.carry_out import carry_out
    from effbench.sweep.progress import ProgressDisplay

    store = use.store
    execute = _executor(sweep, store)
    with ExitStack() as until_the_end:
        with ProgressDisplay(sweep.plan) as display:
            with closing(use.follow(execute(sweep.plan.points, store, sweep.device, display))) as runs:
                from effbench.tracking.write import MlflowTracker  # takes seconds, in which workers run already

                tracker = MlflowTracker(uri, sweep.tracking.experiment, artifacts=sweep.tracking.artifacts)
                until_the_end.enter_context(_abandoned_on_error(tracker))
                outcome = carry_out(sweep, store, tracker, display, runs)
        printout = give_answer(sweep, outcome, store, tracker)
    if printout is None or not outcome.is_whole:
        return FAILED
    keep_answer(arguments, sweep, printout, store)
    return 0


@contextmanager
def _abandoned_on_error(tracker: Tracker) -> Iterator[None]:
    """See to it that what does not come to its end says so."""
    from effbench.tracking.tracker import TrackingError

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

        return partial(run_by_launcher, overrides=sweep.launcher, folders=sweep.config_folders, timeout=sweep.timeout)
    from effbench.run.executors import choose_executor

    return choose_executor(sweep.plan.points, store, sweep.device, jobs=sweep.jobs, timeout=sweep.timeout)


def _say_waiting() -> None:
    from effbench.sweep.messages import say

    say("another process runs the same sweep; waiting for it")


def _complain(error: object, status: int) -> int:
    from effbench.sweep.messages import say

    say(error)
    return status


def command(*, first: int = 1) -> NoReturn:
    """Be the command of this process, whose arguments begin at sys.argv[first], and end it."""
    status = _command(first)
    gc.freeze()  # at its end Python would search all that torch and MLflow have loaded for cycles: one or two seconds
    sys.exit(status)


def _command(first: int) -> int:
    """Run the command of this process: what Ctrl-C finds is ended within two seconds, wherever it is."""
    hide_arguments()  # first: it may begin this process anew
    heed()
    from effbench.sweep.messages import guard_process

    guard_process()
    try:
        os.getcwd()
    except OSError:  # before torch is imported, which dies of it
        return _complain("the working folder is gone; change to another one", WRONG_INPUT)
    try:
        return _main(given_arguments(sys.argv[first:]), is_command=True)
    except KeyboardInterrupt:
        end_now(MESSAGE)


if __name__ == "__main__":
    command()
