"""`--format=csv|json|markdown|table`: stdout then holds the answer in that form, and nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    import pandas as pd

    from effbench.sweep.printout import Printout

FORMATS = ("table", "csv", "json", "markdown")
OPTION = "--format"
_OF_THEIR_OWN = (
    *("-h", "--help", "--hydra-help", "--version"),
    *("-c", "--cfg", "-i", "--info", "-sc", "--shell-completion"),
)
"""Options that print something else than an answer."""
FAILED, WRONG_INPUT = 1, 2

Show = Callable[["Printout"], None]


def take_format(arguments: Sequence[str], /) -> tuple[list[str], str]:
    """Return the arguments without `--format=…` (or `--format …`), and what it says; of several the last one counts.

    ValueError where that is none of `FORMATS`.

    >>> take_format(["+prune=0.5", "--format", "csv"])
    (['+prune=0.5'], 'csv')
    >>> take_format(["+prune=0.5"])
    (['+prune=0.5'], 'table')
    """
    others, found = [], FORMATS[0]
    waiting = iter(arguments)
    for argument in waiting:
        name, is_given, value = argument.partition("=")
        if name != OPTION:
            others.append(argument)
            continue
        found = value if is_given else next(waiting, "")
        if found not in FORMATS:
            raise ValueError(f"{OPTION}={found}: must be {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    return others, found


class Answering:
    """How a command answers: as a table on the terminal, or as a document that has stdout for itself."""

    def __init__(self, form: str, stream: TextIO | None) -> None:
        self.form = form
        self._stream = stream
        self.is_document = stream is not None

    def show(self, printout: Printout, /) -> None:
        """Print an answer; beside a document, what is not in it goes to stderr."""
        if self._stream is None:
            printout.show()
            return
        from effbench.sweep.documents import answer_document

        self._stream.write(answer_document(printout, self.form))
        printout.show_beside(self.form)

    def show_plan(self, plan: pd.DataFrame, more: str, most_more: int, /) -> None:
        """Write the plan of a dry run as a document. more: what refining may add, in words, and how many runs."""
        from effbench.sweep.documents import plan_document

        self.write(plan_document(plan, self.form, more=more, most_more=most_more))

    def write(self, document: str, /) -> None:
        """Write a document of another door's."""
        assert self._stream is not None, "a table is printed"
        self._stream.write(document)


def in_format(arguments: Sequence[str], run: Callable[[list[str], Answering], int], /) -> int:
    """Run a command that answers as its arguments say; returns its exit status, 2 for a wrong `--format`."""
    from effbench.sweep.messages import say

    try:
        others, form = take_format(arguments)
    except ValueError as error:
        say(error)
        return WRONG_INPUT
    if form == "table" or any(argument.partition("=")[0] in _OF_THEIR_OWN for argument in others):
        return run(others, Answering("table", None))
    try:
        with _stdout_for_document() as stream:
            return run(others, Answering(form, stream))
    except BrokenPipeError:
        say("stdout was closed before the answer was written")
        return FAILED


@contextmanager
def _stdout_for_document() -> Iterator[TextIO]:
    """Have all that this process, and those that it begins, print go to stderr; yields what is the stdout before."""
    before = sys.stdout
    before.flush()
    try:
        is_real = before.fileno() == 1
    except (OSError, ValueError, AttributeError):
        is_real = False
    if not is_real:
        with redirect_stdout(sys.stderr):
            yield before
        return
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr), os.fdopen(os.dup(kept), "w", encoding="utf-8", newline="") as stream:
            yield stream
    finally:
        os.dup2(kept, 1)
        os.close(kept)
