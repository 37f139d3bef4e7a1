"""The description of a parent run, as MLflow's pages show it: Markdown, with the command, its answer and its table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

MAX_NOTE_LENGTH = 5000
"""Characters: what every version of MLflow takes of a tag."""
_ROOM_FOR_REST = 80


def note(command: str, lines: Sequence[str] = (), table: pd.DataFrame | None = None) -> str:
    """Return the note of a parent run: the command, the sentences of its answer, and its points, as far as they fit."""
    code = f"`` {command} ``" if "`" in command else f"`{command}`"
    text = "\n\n".join([code, *map(_plain, lines)])
    if len(text) > MAX_NOTE_LENGTH:
        return f"{text[: MAX_NOTE_LENGTH - 1]}…"
    return text if table is None or not len(table) else text + _table(table, MAX_NOTE_LENGTH - len(text))


def _table(table: pd.DataFrame, room: int) -> str:
    """Return a table of at most `room` characters; where rows are left out that is said, and where they are."""
    names = [_cell(name) for name in table.columns]
    text = "\n\n" + "\n".join([_row(names), _row(["---:"] * len(names))])
    if len(text) + _ROOM_FOR_REST > room:
        return ""
    for number, values in enumerate(table.itertuples(index=False)):
        row = f"\n{_row([_cell(value) for value in values])}"
        if len(text) + len(row) + _ROOM_FOR_REST > room:
            return f"{text}\n\n… and {len(table) - number} more: see table.csv of this run"
        text += row
    return text


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    return _plain(str(value)).replace("|", "\\|").replace("\n", " ")


def _plain(text: str) -> str:
    """Return a text in which Markdown and HTML find nothing of theirs."""
    return text.replace("<", "&lt;").replace("*", "\\*").replace("`", "\\`")


def command_of(text: str, /) -> str:
    """Return the command that a note begins with; empty where it has none.

    >>> command_of(note("python -m effbench.sweep +prune=0.5", ["size_bytes: …"]))
    'python -m effbench.sweep +prune=0.5'
    """
    first = text.partition("\n\n")[0]
    return first.strip("`").strip() if first.startswith("`") and first.endswith("`") else ""
