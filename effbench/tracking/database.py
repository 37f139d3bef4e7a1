"""MLflow's SQLite database read directly: in one transaction, and without importing MLflow, which takes seconds.

What can't be read in this way is a sqlite3.Error: whoever asks then goes the long way, through MLflow, which knows its
other versions, repairs what a killed writer left behind, or says what is wrong.
"""

from __future__ import annotations

import sqlite3
import urllib.parse
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from effbench.tracking import names

WAIT_SECONDS = 5.0
"""How long to wait for somebody who is writing."""


def is_finished(path: Path, experiment: str, sweep_id: str, keys: Collection[str], /) -> bool:
    """Whether a sweep's parent run is FINISHED, with runs of all these keys FINISHED under it.

    Of several parents of one sweep the one that started last counts, which is the one that is continued. Deleted runs
    and experiments count as none; so does a database that can't be read.
    """
    try:
        with reading(path) as database:
            found = database.execute(_PARENT, (experiment, names.SWEEP, sweep_id, names.PARENT)).fetchone()
            if found is None or found[1] != "FINISHED":
                return False
            children = database.execute(_FINISHED_KEYS, (names.RUN_KEY, names.PARENT, found[0])).fetchall()
    except sqlite3.Error:
        return False
    return set(keys) <= {key for (key,) in children}


@contextmanager
def reading(path: Path, /) -> Iterator[sqlite3.Connection]:
    """Open a database and begin a transaction: everything is read as it was at one moment. sqlite3.Error if it can't.

    Neither the database nor a file beside it is created where the database is not there.
    """
    address = f"file:{urllib.parse.quote(str(path.absolute()))}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=WAIT_SECONDS, isolation_level=None)) as database:
        database.execute("BEGIN")
        yield database


_PARENT = """
SELECT runs.run_uuid, runs.status FROM experiments JOIN runs USING (experiment_id)
JOIN tags AS sweep ON sweep.run_uuid = runs.run_uuid
WHERE experiments.name = ? AND experiments.lifecycle_stage = 'active' AND runs.lifecycle_stage = 'active'
AND sweep.key = ? AND sweep.value = ?
AND NOT EXISTS (SELECT 1 FROM tags AS parent WHERE parent.run_uuid = runs.run_uuid AND parent.key = ?)
ORDER BY runs.start_time DESC, runs.run_uuid LIMIT 1
"""
_FINISHED_KEYS = """
SELECT own.value FROM tags AS parent JOIN runs USING (run_uuid) JOIN tags AS own ON own.run_uuid = runs.run_uuid
AND own.key = ? WHERE parent.key = ? AND parent.value = ?
AND runs.status = 'FINISHED' AND runs.lifecycle_stage = 'active'
"""
