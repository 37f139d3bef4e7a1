"""`python -m effbench.sweep +prune=0.1,0.5,0.9`: sweep, log, and say where compression stops being free."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from effbench.checks.installed import what_to_activate
from effbench.run.interruption import INTERRUPTED, MESSAGE, end_now, heed
from effbench.sweep.hidden_arguments import given_arguments, hide_arguments

if TYPE_CHECKING:
    from effbench.plan.sweep import Sweep
    from effbench.sweep.answer_format import Answering

FAILED, WRONG_INPUT = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sweep; returns the exit status: 0, 1 when runs failed, 2 for wrong input, 130 after Ctrl-C."""
    try:
        return _main(given_arguments(sys.argv[1:]) if arguments is None else arguments)
    except KeyboardInterrupt:
        return _complain(MESSAGE, INTERRUPTED)


def _main(arguments: Sequence[str], *, is_command: bool = False) -> int:
    """Run a sweep, which answers in the form that `--format` names."""
    from effbench.sweep.answer_format import in_format

    return in_format(arguments, partial(_sweep, is_command=is_command))


def _sweep(arguments: Sequence[str], answering: Answering, *, is_command: bool) -> int:
    """Run a sweep. is_command: this process is here for nothing else; its workers' server may begin at once."""
    from effbench.sweep.messages import log_to_stderr

    wrong = what_to_activate()
    if wrong is not None:
        return _complain(wrong, WRONG_INPUT)
    log_to_stderr()
    if any(argument.startswith("-") for argument in arguments):
        from effbench.config.asked import asked_text
        from effbench.config.options import read_options

        try:
            arguments = (options := read_options(arguments)).remembered
            text = asked_text(options)
        except ValueError as error:
            return _complain(error, WRONG_INPUT)
        if text is not None:
            print(text)
            return 0
    from effbench.sweep.again import answer_again

    if answer_again(arguments, answering.show):
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
        from effbench.sweep.dry_run import show_plan

        show_plan(sweep, Store(Path(sweep.store.root), read_only=True), answering)
        return 0
    return _run(arguments, sweep, answering)


def _run(arguments: Sequence[str], sweep: Sweep, answering: Answering) -> int:
    from effbench.sweep.again import keep_answer
    from effbench.sweep.progress import ProgressDisplay
    from effbench.sweep.work import Refused, Stopped, place_of, work

    try:
        with place_of(sweep) as (use, uri):
            worked = work(sweep, use, uri, ProgressDisplay(sweep.plan), shows=not answering.is_document)
            if answering.is_document:
                answering.show(worked.printout)
            if not worked.is_whole:
                return FAILED
            keep_answer(arguments, worked.sweep, worked.printout, use.store)
    except Refused as error:
        return _complain(error, WRONG_INPUT)
    except Stopped as error:
        return _complain(error, FAILED)
    return 0


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
