"""What the command says on stderr: without passwords, and without anything that could do something to a terminal."""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from importlib.metadata import version
from types import TracebackType
from typing import TextIO

from effbench.checks.secrets import without_secrets
from effbench.checks.text import printable, printable_lines


def plain(text: object, /) -> str:
    """Return a message in one line as it may be shown."""
    return printable(without_secrets(str(text)))


def version_line() -> str:
    """Return which effbench this is, as every door answers --version."""
    return f"effbench {version('effbench')}"


def say(text: object, /) -> None:
    """Print a line on stderr."""
    print(f"effbench: {plain(text)}", file=sys.stderr)


class PlainLines(logging.Formatter):
    """Messages of the log as they may be shown, a line each."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, and below it the exception that it is about, if there is one."""
        return printable_lines(without_secrets(super().format(record)))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's own name)
        """Return the line of a record alone."""
        record.message = printable(record.message)
        return super().formatMessage(record)


def log_to_stderr() -> None:
    """Have warnings of the log printed as the command's own lines, unless the log goes elsewhere already."""
    handler = logging.StreamHandler()
    handler.setFormatter(PlainLines("effbench: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)


def guard_process() -> None:
    """Have Python's own tracebacks and warnings printed as the command's lines are: for a process that is a command."""
    sys.excepthook = _show_exception
    warnings.showwarning = _show_warning


def _show_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    text = "".join(traceback.format_exception(kind, error, trace))
    print(printable_lines(without_secrets(text.rstrip("\n"))), file=sys.stderr)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    text = warnings.formatwarning(message, category, filename, lineno, line)
    print(printable_lines(without_secrets(text.rstrip("\n"))), file=file or sys.stderr)
