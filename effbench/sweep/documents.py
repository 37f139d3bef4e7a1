"""An answer as a document: CSV, strict JSON, or Markdown. Text in it does nothing to a terminal and tells no secret."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from effbench.analysis import Quality
from effbench.sweep.messages import plain

if TYPE_CHECKING:
    from effbench.sweep.printout import Printout


def answer_document(printout: Printout, form: str, /) -> str:
    """Return an answer in a form that is not the terminal's.

    csv: a row per point, raw numbers under the metrics' names; without any point nothing. json: points, runs, answers
    (points, intervals, sentences), failures. markdown: the command, its sentences, and the table.
    """
    writers: dict[str, Callable[[Printout], str]] = {"csv": _csv, "json": _json, "markdown": markdown}
    return writers[form](printout)


def plan_document(plan: pd.DataFrame, form: str, /, *, more: str = "", most_more: int = 0) -> str:
    """Return the plan of a dry run, a row per run, in a form that is not the terminal's.

    more: what refining may add, in words; most_more: how many runs that is at most. CSV has the planned rows alone.
    """
    if form == "csv":
        return csv_text(plan)
    if form == "json":
        return json_text({"runs": records_of(plan), "most_runs_more": most_more})
    table = markdown_table(list(map(str, plan.columns)), [list(map(_cell_text, row)) for row in plan.to_numpy()])
    return f"{table}\n\n{_escaped(more)}\n" if more else f"{table}\n"


def csv_text(table: pd.DataFrame, /) -> str:
    """Return a table as CSV: numbers to the last digit, nothing where there is none."""
    stream = io.StringIO()
    safe = table.rename(columns=lambda name: plain(name))
    safe = safe.map(lambda value: plain(value) if isinstance(value, str) else value)
    safe.to_csv(stream, index=False, lineterminator="\n")
    return stream.getvalue()


def json_text(record: Mapping[str, Any], /) -> str:
    """Return strict JSON in ASCII, keys sorted: what is no finite number is null."""
    return json.dumps(strict(record), indent=1, allow_nan=False, sort_keys=True) + "\n"


def strict(value: Any, /) -> Any:
    """Return a value as strict JSON has it: mappings, lists, text, numbers, null.

    >>> strict({"a": [float("nan"), np.int64(3), "x"], 1: None})
    {'a': [None, 3, 'x'], '1': None}
    """
    if isinstance(value, Mapping):
        return {plain(key): strict(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        return [strict(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return None if value is pd.NA or value is pd.NaT else plain(value)


def records_of(frame: pd.DataFrame, /) -> list[dict[str, Any]]:
    """Return the rows of a frame as mappings; what a row does not have is null."""
    return [
        {str(name): strict(value) for name, value in row.items()} for row in frame.astype(object).to_dict("records")
    ]


def markdown(printout: Printout, /) -> str:
    """Return an answer in Markdown: what asked for it, what was found, and the table of points."""
    from effbench.sweep.terminal import shown_columns

    lines = [_code(printout.command), ""] if printout.command else []
    lines += [f"- {_escaped(line)}" for line in printout.said()]
    if printout.table is None:
        return "\n".join(lines) + "\n"
    attrs = printout.table.attrs
    columns = shown_columns(printout.table, Quality(**attrs["quality"]), attrs["extras"])
    rows = [list(row) for row in zip(*(column.cells for column in columns), strict=True)]
    return "\n".join([*lines, "", markdown_table([column.title for column in columns], rows)]) + "\n"


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]], /) -> str:
    """Return a table in Markdown."""
    lines = [headings, ["---:"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(_escaped(text) for text in line) + " |" for line in lines)


def _code(text: str) -> str:
    """Return text as Markdown's code, in which nothing else means anything."""
    fence = "``" if "`" in text else "`"
    return f"{fence}{plain(text)}{fence}"


def _escaped(text: object) -> str:
    """Return text as Markdown shows it: no HTML, no cell that ends early."""
    return plain(text).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


def _cell_text(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:g}"
    return "" if value is None else plain(value)


def _csv(printout: Printout) -> str:
    return "" if printout.table is None else csv_text(printout.table)


def _json(printout: Printout) -> str:
    points = [] if printout.table is None else records_of(printout.table)
    return json_text(
        {
            "command": printout.command,
            **printout.record,
            "points": points,
            "sentences": list(printout.lines),
            "failures": dict(printout.failures),
            "unmeasured": list(printout.unmeasured),
            "figure": printout.figure,
            "runs_shown_by": printout.runs,
        }
    )
