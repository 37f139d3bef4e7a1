"""The terminal: the console of stdout, and the table of points as it is shown there."""

from __future__ import annotations

import io
import os
import sys
import textwrap
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, TextIO

import pandas as pd
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from effbench.analysis import Quality
from effbench.analysis.curves.columns import METRIC, belongs_to
from effbench.analysis.curves.groups import group_columns
from effbench.sweep.fitting import GAP, Column, fitted
from effbench.sweep.messages import plain

_HEADINGS = {
    "n_seeds": "seeds",
    "size_bytes": "bytes",
    "size_ratio": "smaller",
    "macs": "MACs",
    "macs_effective": "effective",
    "params_nonzero": "non-zero",
}
DETAILS = ("calibration_error",)
"""Columns of the table's file that the terminal leaves out."""
_COUNTS = ("size_bytes", "macs", "macs_effective", "params_nonzero")


UNLIMITED = 1_000_000
"""The width of what is no terminal, in cells."""


def terminal_console(file: TextIO | None = None) -> Console:
    """Return the console of stdout, or of another stream; where that is no terminal, lines are as long as they need.

    COLUMNS, NO_COLOR, FORCE_COLOR and TERM count as they do for rich.
    """
    stream = sys.stdout if file is None else file
    console = Console(file=file, soft_wrap=True)
    is_given = os.environ.get("COLUMNS", "").isdigit()
    if not (is_given or console.is_jupyter or _is_terminal(stream)):
        console.width = UNLIMITED
    return console


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # it is no stream, or is closed
        return False


def text_of(show: Callable[[Console], None], /) -> str:
    """Return what is shown as plain text: no colours, lines as long as they need."""
    stream = io.StringIO()
    show(
        Console(
            file=stream, soft_wrap=True, width=UNLIMITED, force_terminal=False, force_jupyter=False, color_system=None
        )
    )
    return stream.getvalue().rstrip("\n")


def print_line(line: str, console: Console) -> None:
    """Print a line as it is: nothing in it colours or moves anything, and no secret is in it."""
    console.print(Text(plain(line)), soft_wrap=True)


def print_rows(
    columns: Sequence[Column],
    console: Console,
    *,
    justify: Literal["left", "right"] = "right",
    breaks: Collection[int] = (),
) -> None:
    """Print columns below their headings, each row in a line of its own, whatever the width: nothing is cut.

    breaks: rows, counted from 0, before which a line is left free.
    """
    widths = [column.width for column in columns]
    headings = [column.heading.split("\n") for column in columns]
    height = max(map(len, headings), default=0)
    lines = [*zip(*([""] * (height - len(lines)) + lines for lines in headings), strict=True)]
    for number, line in enumerate([*lines, *zip(*(column.cells for column in columns), strict=True)]):
        shown = [_padded(text, width, justify) for text, width in zip(line, widths, strict=True)]
        style = "bold" if number < height else ""
        if number - height in breaks:
            console.print()
        console.print(Text((" " * GAP).join(shown).rstrip(), style=style), soft_wrap=True, highlight=False)


def _padded(text: str, width: int, justify: Literal["left", "right"]) -> str:
    space = " " * (width - cell_len(text))
    return text + space if justify == "left" else space + text


def print_table(table: pd.DataFrame, quality: Quality, extras: Sequence[str], console: Console) -> None:
    """Print the table of points; `extras` are the columns of other qualities, shares of one.

    Columns that have no room are left out, and named. Groups of rows, where the table has some, are set apart.
    """
    columns = shown_columns(table, quality, extras)
    shown = fitted(columns, console.width, quality=quality.name)
    print_rows(shown.columns, console, breaks=group_breaks(columns))
    for number, name in enumerate(shown.names, start=1):
        options: dict[str, Any] = {"subsequent_indent": "   ", "break_long_words": False, "break_on_hyphens": False}
        for line in textwrap.wrap(f"{number}: {name}", console.width, **options):  # no name is cut
            print_line(line, console)
    if shown.left_out:
        titles = ", ".join(column.title for column in shown.left_out)
        print_line(
            f"not shown at {console.width} columns: {titles}; --format=csv, or a wider terminal, shows all", console
        )


def shown_columns(table: pd.DataFrame, quality: Quality, extras: Sequence[str], /) -> list[Column]:
    """Return the columns of the table of points as they are shown."""
    return [
        Column(
            name=plain(name),
            heading="\n".join(map(plain, _heading(name, quality).split("\n"))),
            cells=tuple(plain(_cell(name, value, quality, extras)) for value in table[name].astype(object)),
            is_axis=_is_axis(name, quality, extras),
        )
        for name in map(str, table.columns)
        if not _is_left_out(table, name, quality)
    ]


def group_breaks(columns: Sequence[Column], /) -> list[int]:
    """Return the rows with which another network, data set or task begins: (n_groups - 1,)."""
    there = group_columns(column.name for column in columns if column.is_axis)
    rows = list(zip(*(column.cells for column in columns if column.name in there), strict=True))
    return [number for number in range(1, len(rows)) if rows[number] != rows[number - 1]]


def _is_axis(name: str, quality: Quality, extras: Sequence[str]) -> bool:
    """Whether a column tells points apart, and was not measured."""
    is_measured = METRIC.match(name) is not None or belongs_to(name, (quality.name, *extras))
    return not is_measured and name not in ("n_seeds", "n_failed") and not name.endswith("_reached")


def _is_left_out(table: pd.DataFrame, name: str, quality: Quality) -> bool:
    """Whether a column tells nothing (one seed everywhere, a spread that is not there), or is for the file alone."""
    if name == "n_seeds":
        return bool((table[name] == 1).all())
    is_detail = name in DETAILS or (name.startswith(f"{quality.name}_") and name not in _quality_headings(quality))
    is_empty = bool(table[name].isna().all()) or (name.startswith("verdict/") and not any(table[name]))
    return is_detail or name.startswith("latency_ms_p90") or is_empty


def _quality_headings(quality: Quality) -> dict[str, str]:
    """Return the headings of the columns of a quality that are shown."""
    word = {"accuracy": "acc."}.get(quality.name, quality.name.replace("_", "-"))
    return {quality.name: f"test {word}", f"{quality.name}_std": "±", f"{quality.name}_val": f"val. {word}"}


def _heading(name: str, quality: Quality) -> str:
    """Return a column's heading; a word that would widen the column goes on a second line."""
    kind, _, engine = name.partition("/")
    if kind == "latency_ms":
        return f"ms\n{engine}"
    if kind == "speedup":
        return f"faster\n{engine}"
    if kind == "verdict":
        return f"real?\n{engine}"
    if kind == quality.name and engine:
        return f"{_quality_headings(quality)[quality.name]}\n{engine}"
    return {**_HEADINGS, **_quality_headings(quality)}.get(name, name.replace("_", " ")).replace(" ", "\n")


def _cell(name: str, value: object, quality: Quality, extras: Sequence[str]) -> str:
    if not isinstance(value, (int, float)) or pd.isna(value):
        return value if isinstance(value, str) else ""
    if name in extras:
        return f"{100 * value:.1f} %"
    if name in _quality_headings(quality) or name.startswith(f"{quality.name}/"):
        return f"{100 * value:.1f} %" if quality.is_fraction else f"{value:.4g}"
    if name == "size_ratio" or name.startswith("speedup/"):
        return f"{value:.2f}×"
    if name.startswith("latency_ms"):
        return f"{value:.3g}"
    return _count(value) if name in _COUNTS else f"{value:g}"


def _count(value: float) -> str:
    """Return a count in three figures, as in 65.3 K or 3.67 M."""
    for unit, suffix in ((1e9, " G"), (1e6, " M"), (1e3, " K")):
        if value >= 0.9995 * unit:  # as in three figures
            return f"{value / unit:#.3g}".rstrip(".") + suffix
    return f"{value:.0f}"
