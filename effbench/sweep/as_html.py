"""The figure and the table of an answer as HTML, as a notebook shows them."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from effbench.analysis import Quality
from effbench.sweep.terminal import group_breaks, shown_columns

_SHOWN = {"png": "image/png", "svg": "image/svg+xml"}
"""Formats of figures that browsers show within a page, with their types."""


def image_html(figure: str | None, formats: Sequence[str], /) -> str:
    """Return a figure within the page, in the first of its formats that browsers show; empty where there is no file."""
    files = [] if figure is None else [Path(figure).with_suffix(f".{form}") for form in formats if form in _SHOWN]
    for file in files:
        if file.is_file():
            address = f"data:{_SHOWN[file.suffix[1:]]};base64,{base64.b64encode(file.read_bytes()).decode()}"
            return f'<img style="max-width:100%" alt="quality against cost" src="{address}">'
    return ""


def table_html(table: pd.DataFrame, /) -> str:
    """Return the table of points as the terminal shows it."""
    columns = shown_columns(table, Quality(**table.attrs["quality"]), table.attrs["extras"])
    parts = [[html.escape(part) for part in column.heading.split("\n")] for column in columns]
    rows = zip(*(column.cells for column in columns), strict=True)
    top = "".join(f"<th>{'<br>'.join(lines)}</th>" for lines in parts)
    breaks = group_breaks(columns)
    body = ""
    for number, row in enumerate(rows):
        line = ' style="border-top:2px solid gray"' if number in breaks else ""
        body += f"<tr{line}>{''.join(f'<td>{html.escape(text)}</td>' for text in row)}</tr>"
    style = "text-align:right;border-collapse:collapse"
    return f'<table style="{style}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
