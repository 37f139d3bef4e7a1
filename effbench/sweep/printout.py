"""What a sweep prints at its end, as plain data: kept, it is printed again without all that computed it.

Importing this imports neither torch nor MLflow.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from rich.console import Console

from effbench.analysis import Quality
from effbench.sweep.terminal import print_line, print_table, terminal_console, text_of


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
    runs: str
    """What shows the runs: a command, or an address."""
    page: str | None = None
    """The address at which they are shown side by side."""

    def show(self, console: Console | None = None) -> None:
        """Print it, to stdout unless another console is given."""
        console = terminal_console() if console is None else console
        if self.table is not None:
            print_table(self.table, Quality(**self.table.attrs["quality"]), self.table.attrs["extras"], console)
            console.print()
        for line in self.lines:
            print_line(line, console)
        for name, reason in self.failures.items():
            print_line(f"failed: {name}: {reason}", console)
        if self.failures:
            print_line("the same command tries the failed runs again, and only those", console)
        for line in self.unmeasured:
            print_line(line, console)
        if self.figure is not None:
            print_line(f"figure: {os.path.relpath(self.figure)}", console)
        print_line(f"runs:   {self.runs}", console)
        if self.page is not None:
            print_line(f"page:   {self.page}", console)

    def text(self) -> str:
        """Return what `show` prints."""
        return text_of(self.show)

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON-able data."""
        table = None
        if self.table is not None:
            table = {"rows": self.table.to_json(orient="table", double_precision=15), "attrs": self.table.attrs}
        return {"table": table, "lines": list(self.lines), "figure": self.figure, "page": self.page}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], /, *, runs: str) -> Printout:
        """Return what `to_plain` wrote of a sweep without failures."""
        table = None
        if plain["table"] is not None:
            table = pd.read_json(io.StringIO(plain["table"]["rows"]), orient="table", precise_float=True)
            table.attrs = plain["table"]["attrs"]
        return cls(table=table, lines=plain["lines"], figure=plain["figure"], runs=runs, page=plain.get("page"))
