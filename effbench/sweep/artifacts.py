"""What stages measured, as files of their run: a CSV for each table, a figure where there is one for it."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import pandas as pd

from effbench.analysis import plot_sensitivity
from effbench.plan.findings import Rows

_FIGURES: Mapping[str, Callable[[pd.DataFrame], object]] = {"sensitivity": plot_sensitivity}
"""What draws a table, by the table's name; each returns matplotlib axes."""


def table_files(tables: Mapping[str, Rows], /) -> dict[str, bytes]:
    """Return the files of tables by their names: <table>.csv, and <table>.png of those that are drawn."""
    files: dict[str, bytes] = {}
    for name, rows in tables.items():
        frame = pd.DataFrame(list(rows))
        files[f"{name}.csv"] = frame.to_csv(index=False).encode()
        if name in _FIGURES:
            stream = io.BytesIO()
            _FIGURES[name](frame).figure.savefig(stream, format="png", dpi=200)  # type: ignore[attr-defined]
            files[f"{name}.png"] = stream.getvalue()
    return files
