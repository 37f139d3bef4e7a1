"""A SQLite file opened to be read: never made, never written, whatever its name."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

WAIT_SECONDS = 5.0
"""How long to wait for somebody who is writing."""


@contextmanager
def reading(path: Path, /, *, wait_seconds: float = WAIT_SECONDS) -> Iterator[sqlite3.Connection]:
    """Open a database and begin a transaction: everything is read as it was at one moment. sqlite3.Error if it can't.

    Neither the database nor a file beside it is created where the database is not there.
    """
    address = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=wait_seconds, isolation_level=None)) as database:
        database.execute("BEGIN")
        yield database
