"""`python -m effbench.sweep +prune=0.1,0.5,0.9`: sweep, log, and say where compression stops being free."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from effbench.config.settings import Sweep
    from effbench.execute import Executor
    from effbench.store import Store
    from effbench.tracking.tracker import Tracker

FAILED, WRONG_INPUT, INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sweep; returns the exit status: 0, 1 when runs failed, 2 for wrong input, 130 after Ctrl-C."""
    try:
        return _main(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        return _complain("interrupted; the same command goes on where this one stopped", INTERRUPTED)


def _main(arguments: Sequence[str]) -> int:
    logging.basicConfig(format="effbench: %(message)s", level=logging.WARNING)
    if any(argument in ("-h", "--help") for argument in arguments):
        from effbench.config.help import help_page

        print(help_page())
        return 0
    from effbench.config.sweep import read_sweep
    from effbench.store import Store

    try:
        sweep = read_sweep(arguments)
        store = Store(Path(sweep.store.root))
    except ValueError as error:
        return _complain(error, WRONG_INPUT)
    if sweep.dry_run:
        from effbench.terminal import print_plan

        print_plan(sweep, store)
        return 0
    return _run(sweep, store)


def _run(sweep: Sweep, store: Store) -> int:
    execute = _executor(sweep, store)  # workers begin to import while this process imports MLflow
    from effbench.tracking.location import for_writing
    from effbench.tracking.tracker import TrackingError
    from effbench.tracking.write import MlflowTracker

    try:
        tracker = MlflowTracker(for_writing(sweep.tracking.uri), sweep.tracking.experiment)
    except TrackingError as error:
        return _complain(error, WRONG_INPUT)
    try:
        with store.lock(f"sweep-{sweep.plan.sweep_id}", waiting=_say_waiting):
            try:
                return _carry_out(sweep, store, tracker, execute)
            except BaseException:
                with suppress(TrackingError):
                    tracker.abandon_sweep()
                raise
    except (TrackingError, OSError) as error:
        return _complain(f"{error}; what was finished is kept, and the same command goes on from there", FAILED)


def _executor(sweep: Sweep, store: Store) -> Executor:
    """Return what runs the points: a launcher of Hydra's if the command names one, else effbench itself."""
    if sweep.launcher:
        from effbench.config.launcher import run_by_launcher

        return partial(run_by_launcher, overrides=sweep.launcher)
    from effbench.execute import choose_executor

    return choose_executor(sweep.plan.points, store, sweep.device, jobs=sweep.jobs)


def _carry_out(sweep: Sweep, store: Store, tracker: Tracker, execute: Executor) -> int:
    from effbench.answer import give_answer
    from effbench.orchestrate import carry_out
    from effbench.terminal import ProgressDisplay

    with ProgressDisplay(sweep.plan) as display:
        outcome = carry_out(sweep, store, tracker, display, execute)
    give_answer(sweep, outcome, store, tracker)
    return FAILED if outcome.failures else 0


def _say_waiting() -> None:
    print("effbench: another process runs the same sweep; waiting for it", file=sys.stderr)


def _complain(error: object, status: int) -> int:
    print(f"effbench: {error}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
