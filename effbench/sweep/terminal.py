"""The terminal: the console of stdout, and the table of points as it is shown there."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from effbench.analysis import Quality
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


def terminal_console() -> Console:
    """Return the console of stdout; where that is no terminal, lines are as long as they need."""
    console = Console(soft_wrap=True)
    if not console.is_terminal:
        console.width = 240
    return console


def text_of(show: Callable[[Console], None], /) -> str:
    """Return what is shown as plain text: no colours, lines as long as they need."""
    stream = io.StringIO()
    show(Console(file=stream, soft_wrap=True, width=240, force_terminal=False, force_jupyter=False, color_system=None))
    return stream.getvalue().rstrip("\n")


def print_line(line: str, console: Console) -> None:
    """Print a line as it is: nothing in it colours or moves anything, and no secret is in it."""
    console.print(Text(plain(line)), soft_wrap=True)


def cell(text: object, /) -> Text:
    """Return what stands in a cell of a table, which nothing in it can break."""
    return Text(plain(text))


def print_table(table: pd.DataFrame, quality: Quality, extras: Sequence[str], console: Console) -> None:
    """Print the table of points; `extras` are the columns of other qualities, shares of one."""
    rendered = Table(box=None, pad_edge=False, header_style="bold")
    headings, rows = shown_cells(table, quality, extras)
    for heading in headings:
        rendered.add_column(Text("\n").join(map(cell, heading.split("\n"))), justify="right", no_wrap=True)
    for row in rows:
        rendered.add_row(*map(cell, row))
    console.print(rendered)


def shown_cells(table: pd.DataFrame, quality: Quality, extras: Sequence[str], /) -> tuple[list[str], list[list[str]]]:
    """Return the headings of the table of points, of up to three lines each, and its rows, as they are shown."""
    shown = [str(name) for name in table.columns if not _is_left_out(table, str(name), quality)]
    rows = [[_cell(name, row[name], quality, extras) for name in shown] for _, row in table.iterrows()]
    return [_heading(name, quality) for name in shown], rows


def _is_left_out(table: pd.DataFrame, name: str, quality: Quality) -> bool:
    """Whether a column tells nothing (one seed everywhere, a spread that is not there), or is for the file alone."""
    if name == "n_seeds":
        return bool((table[name] == 1).all())
    is_detail = name in DETAILS or (name.startswith(f"{quality.name}_") and name not in _quality_headings(quality))
    return is_detail or name.startswith("latency_ms_p90") or bool(table[name].isna().all())


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
    return {**_HEADINGS, **_quality_headings(quality)}.get(name, name.replace("_", " ")).replace(" ", "\n")


def _cell(name: str, value: object, quality: Quality, extras: Sequence[str]) -> str:
    if not isinstance(value, (int, float)) or pd.isna(value):
        return value if isinstance(value, str) else ""
    if name in extras:
        return f"{100 * value:.1f} %"
    if name in _quality_headings(quality):
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
