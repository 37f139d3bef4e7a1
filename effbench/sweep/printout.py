"""What a sweep prints at its end, as plain data: kept, it is printed again without all that computed it.

Importing this imports neither torch nor MLflow.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
from rich.console import Console

from effbench.analysis import Quality
from effbench.sweep.terminal import print_line, print_table, terminal_console, text_of

_SHARE = "× the bytes"
_TWO_BASELINES = f"({_SHARE}: of the reference's own file; smaller: than the reference's weights as float32)"


@dataclass(frozen=True, kw_only=True)
class Printout:
    """The table of points (None without any), what is said of them, and where the rest is."""

    table: pd.DataFrame | None
    """A row per point. `.attrs`: "quality" has the fields of the Quality, "extras" the other qualities' columns."""
    lines: Sequence[str]
    failures: Mapping[str, str] = field(default_factory=dict)
    """Why runs failed, by the point's name."""
    unmeasured: Sequence[str] = ()
    """Whose latency could not be measured, and why: a line each."""
    figure: str | None
    """The figure's path."""
    report: str | None = None
    """The path of the page that says all of it."""
    runs: str
    """What shows the runs: a command, or an address."""
    page: str | None = None
    """The address at which they are shown side by side."""
    command: str = ""
    """What asked for it."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able data of the runs and the answers (`answer_record`), for the document."""

    def show(self, console: Console | None = None) -> None:
        """Print it, to stdout unless another console is given."""
        console = terminal_console() if console is None else console
        if self.table is not None:
            print_table(self.table, Quality(**self.table.attrs["quality"]), self.table.attrs["extras"], console)
            console.print()
        for line in self.said():
            print_line(line, console)
        if self.figure is not None:
            print_line(f"figure: {os.path.relpath(self.figure)}", console)
        if self.report is not None:
            print_line(f"report: {os.path.relpath(self.report)}", console)
        print_line(f"runs:   {self.runs}", console)
        if self.page is not None:
            print_line(f"page:   {self.page}", console)

    def show_beside(self, form: str) -> None:
        """Print, to stderr, what a document on stdout does not hold: of CSV all but the table."""
        lines = self.lines if form == "csv" else ()
        replace(self, table=None, lines=lines).show(terminal_console(sys.stderr))

    def said(self) -> list[str]:
        """Return the lines below the table: the answer, what its words mean, what failed."""
        has_both = self.table is not None and "size_ratio" in self.table and any(_SHARE in line for line in self.lines)
        return [*self.lines, *([_TWO_BASELINES] if has_both else []), *self.failure_lines(), *self.unmeasured]

    def failure_lines(self) -> list[str]:
        """Return a line for each failed run, and one that says what to do."""
        failed = [f"failed: {name}: {reason}" for name, reason in self.failures.items()]
        return [*failed, *(["the same command tries the failed runs again, and only those"] if failed else [])]

    def text(self) -> str:
        """Return what `show` prints."""
        return text_of(self.show)

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON-able data."""
        table = None
        if self.table is not None:
            table = {"columns": _columns(self.table), "attrs": self.table.attrs}
        return {
            "table": table,
            "lines": list(self.lines),
            "figure": self.figure,
            "report": self.report,
            "page": self.page,
            "command": self.command,
            "record": self.record,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], /, *, runs: str) -> Printout:
        """Return what `to_plain` wrote of a sweep without failures."""
        table = None
        if plain["table"] is not None:
            columns = plain["table"]["columns"]
            table = pd.DataFrame({name: pd.Series(values, dtype=dtype) for name, dtype, values in columns})
            table.attrs = plain["table"]["attrs"]
        kept = {name: plain[name] for name in ("lines", "figure", "report", "page", "command", "record")}
        return cls(table=table, runs=runs, **kept)


def _columns(table: pd.DataFrame) -> list[tuple[str, str, list[Any]]]:
    """Return the columns of a table by name, with their types and values: numbers to the last digit."""
    return [
        (name, str(table[name].dtype), [None if pd.isna(value) else value for value in table[name].tolist()])
        for name in map(str, table.columns)
    ]
