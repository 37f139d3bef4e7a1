"""The tables of tracked runs, such as their training curves, read from the runs' files."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Sequence

import pandas as pd

from effbench.tracking.artifacts import RunFiles
from effbench.tracking.database import Database
from effbench.tracking.location import for_reading, sqlite_path


def load_tables(
    runs: Sequence[str], tables: Sequence[str], /, *, tracking_uri: str | None = None
) -> list[dict[str, pd.DataFrame]]:
    """Return the tables of each of the runs, by their ids, that there are and can be read, by the tables' names."""
    uri = for_reading(tracking_uri)
    path = sqlite_path(uri)

    def artifact_uris(asked: Sequence[str]) -> list[str]:
        try:
            return [""] * len(asked) if path is None else Database(path).artifact_uris(asked)
        except sqlite3.Error:  # of another version, damaged: MLflow knows
            return [""] * len(asked)

    found: list[dict[str, pd.DataFrame]] = [{} for _ in runs]
    files = RunFiles(uri, artifact_uris)
    for name in tables if len(runs) else ():
        for own, text in zip(found, files.texts(runs, f"{name}.csv"), strict=True):
            table = None if text is None else _read(text)
            if table is not None:
                own[name] = table
    return found


def _read(text: str) -> pd.DataFrame | None:
    """Return a table; None for a file that was changed into none."""
    try:
        return pd.read_csv(io.StringIO(text))
    except ValueError:  # pandas' own errors among them
        return None
