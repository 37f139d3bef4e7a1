"""A database in another folder than the one it was written in: where the files of its runs are now.

MLflow writes down where a run's files lie as an absolute URI. Of a folder that was moved, new runs would be written
into the old place; of one that was copied, into the other's. So the experiments that effbench makes beside a database
say in a tag which folder that was. Where it is another one now, the URIs of these experiments and of their runs are
rewritten, all or none. What the user put elsewhere stays there.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

from effbench.tracking.names import EXPERIMENT_KIND, FILES, FILES_OF_EVERY_RUN, FOLDER, SWEEP
from effbench.tracking.sqlite_file import reading

ARTIFACTS = "mlruns"
"""The folder beside a database that holds the files of its runs."""
LOCK_SECONDS = 30
_OF_EXPERIMENT = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
)
"""The tables of MLflow's with such URIs, and the columns."""


@dataclass(frozen=True)
class Move:
    """An experiment whose files lay below the URI `old` and are below `new` now. Both empty: it is only recorded."""

    experiment_id: int
    old: str = ""
    new: str = ""

    def applied_to(self, uri: str, /) -> str | None:
        """Return where something below `old` is now; None for a URI that lies elsewhere."""
        is_below = uri == self.old or uri.startswith(f"{self.old}/")
        return self.new + uri.removeprefix(self.old) if self.old and is_below else None


def artifact_folder_of(database: Path, /) -> str:
    """Return the URI of the folder beside a database in which the files of its runs are kept."""
    return (database.parent / ARTIFACTS).resolve().as_uri()


def local_path(uri: str, /) -> Path | None:
    """Return the path that a file URI, or a plain path, stands for; None for what lies elsewhere."""
    if uri.startswith("file:"):
        return Path(unquote(urlparse(uri).path))
    return None if "://" in uri or uri.startswith("mlflow-artifacts:") else Path(uri)


def has_files(uri: str, tags: Mapping[str, str], /) -> bool:
    """Whether the files of a run that its tags name are below a URI; where they are kept elsewhere, they count as such.

    uri: the run's own, as MLflow has it.
    """
    folder = local_path(uri)
    expected = json.loads(tags[FILES]) if FILES in tags else FILES_OF_EVERY_RUN
    return folder is None or all((folder / name).is_file() for name in expected)


def moves_of(database: Path, /) -> tuple[Move, ...]:
    """Return what is to be rewritten in a database, without writing anything."""
    try:
        with reading(database, wait_seconds=LOCK_SECONDS) as connection:
            return tuple(move for move in _moves(connection, database) if move.old)
    except sqlite3.Error:  # whoever reads the runs says what is wrong with it
        return ()


def relocate(database: Path, /) -> None:
    """Rewrite the URIs of a database that was moved or copied: all of them, or, when killed, none.

    sqlite3.Error for what is no database. Nobody else may open it at the same time for the first time.
    """
    with closing(sqlite3.connect(database, timeout=LOCK_SECONDS, isolation_level=None)) as connection:
        if not list(_moves(connection, database)):
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            for move in list(_moves(connection, database)):
                _apply(connection, move, database)
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def _moves(connection: sqlite3.Connection, database: Path) -> Iterator[Move]:
    """Yield the experiments of effbench's own that were recorded elsewhere, or not at all."""
    if not _columns(connection, "experiments"):
        return
    here, now = database.parent.resolve(), artifact_folder_of(database)
    for number, location, recorded in connection.execute(_EXPERIMENTS, (FOLDER, *EXPERIMENT_KIND, SWEEP)):
        if recorded is None:
            # One of effbench's before folders were recorded: its files lay beside its database.
            path = local_path(location or "")
            if path is None or (path.name != ARTIFACTS and location != now):
                continue
            recorded = str(here if location == now else path.parent)
            if _is_same(Path(recorded), here):
                yield Move(number)
                continue
        if not _is_same(Path(recorded), here):
            old = next((old for old in _spellings(Path(recorded)) if _is_below(location or "", old)), None)
            yield Move(number) if old is None or old == now else Move(number, old, now)


_EXPERIMENTS = """
SELECT e.experiment_id, e.artifact_location, t.value
FROM experiments e LEFT JOIN experiment_tags t ON t.experiment_id = e.experiment_id AND t.key = ?
WHERE t.value IS NOT NULL
OR EXISTS (SELECT 1 FROM experiment_tags k WHERE k.experiment_id = e.experiment_id AND k.key = ? AND k.value = ?)
OR EXISTS (SELECT 1 FROM tags s JOIN runs r ON r.run_uuid = s.run_uuid WHERE s.key = ?
           AND r.experiment_id = e.experiment_id)
"""


def _spellings(folder: Path) -> Sequence[str]:
    """Return the URIs that may stand for the files beside a database in a folder."""
    return (folder / ARTIFACTS).as_uri(), str(folder / ARTIFACTS)


def _is_below(uri: str, folder: str) -> bool:
    return uri == folder or uri.startswith(f"{folder}/")


def _is_same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one folder, through links or not."""
    try:
        return one == other or one.samefile(other)
    except OSError:  # one of them is not there
        return False


def _apply(connection: sqlite3.Connection, move: Move, database: Path) -> None:
    if move.old:
        for table, column in _OF_EXPERIMENT:
            if column in _columns(connection, table):
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, length(?) + 1) "
                    f"WHERE experiment_id = ? AND ({column} = ? OR substr({column}, 1, length(?)) = ?)",
                    (move.new, move.old, move.experiment_id, move.old, f"{move.old}/", f"{move.old}/"),
                )
    connection.execute(
        "INSERT OR REPLACE INTO experiment_tags (key, value, experiment_id) VALUES (?, ?, ?)",
        (FOLDER, str(database.parent.resolve()), move.experiment_id),
    )


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    """Return the names of a table's columns; none where there is no such table."""
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
