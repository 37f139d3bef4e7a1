"""The database or server that a sweep is logged to: opened, made where there is none, put right where it was moved."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from effbench.checks.locks import file_lock
from effbench.tracking.experiment import artifact_uri
from effbench.tracking.location import for_mlflow, sqlite_path
from effbench.tracking.names import EXPERIMENT_KIND, FOLDER
from effbench.tracking.relocation import artifact_folder_of, relocate
from effbench.tracking.request import sign_in


def open_database(uri: str, experiment: str, artifacts: str | None) -> tuple[MlflowClient, str]:
    """Return a client and the experiment's id; `artifacts` is where the files of a new one go."""
    location = None if artifacts is None else artifact_uri(artifacts)
    path = sqlite_path(uri)
    if path is None:
        with _alone(uri):
            client = MlflowClient(sign_in(uri))
            return client, _experiment_id(client, experiment, location, {})
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes that create the database at once would both run MLflow's migrations, and one would crash.
    with file_lock(path.with_name(f"{path.name}.lock")):
        if not path.exists() or path.stat().st_size == 0:
            _create_database(path)
        relocate(path)
        client = MlflowClient(for_mlflow(uri))
        tags = {FOLDER: str(path.parent.resolve())}
        return client, _experiment_id(client, experiment, location or artifact_folder_of(path), tags)


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Let no other effbench, on whatever machine, make its tables in a database at the same time; a server sees to it.

    Two that do crash, as with SQLite; but here there is no file to be locked.
    """
    lock = next((lock for scheme, lock in _LOCKS.items() if uri.startswith(scheme)), None)
    if lock is None:
        yield
        return
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:  # which takes its lock with it
        connection.execute(sqlalchemy.text(lock))
        yield


_LOCKS = {"postgresql": "SELECT pg_advisory_lock(3332274637)", "mysql": "SELECT GET_LOCK('effbench', 60)"}
"""What waits for a lock that the connection holds, by the beginning of the URI; the number is effbench's own."""


def _create_database(path: Path) -> None:
    """Make an empty database: whole or not at all.

    MLflow's migrations take a second, and a database that was left in the middle of them can't be opened any more.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # a second, which only this needs

    part = path.with_name(f"{path.name}.part")
    for left in path.parent.iterdir():
        if left.name.startswith(part.name):  # of one that was killed, and its journal
            left.unlink()
    part.touch()  # with the rights that the user's umask gives: SQLite itself never lets a group write
    # Named here, as MLflow writes the working folder's path into a statement: one with quotes breaks that.
    SqlAlchemyStore(for_mlflow(f"sqlite:///{part}"), artifact_folder_of(path))  # type: ignore[no-untyped-call]
    os.replace(part, path)


def _experiment_id(client: MlflowClient, name: str, location: str | None, tags: dict[str, str]) -> str:
    existing = client.get_experiment_by_name(name)
    if existing is not None:
        return str(existing.experiment_id)
    try:
        return str(client.create_experiment(name, location, tags={**dict([EXPERIMENT_KIND]), **tags}))
    except MlflowException as error:
        made = client.get_experiment_by_name(name)
        if error.error_code != "RESOURCE_ALREADY_EXISTS" or made is None:
            raise
        return str(made.experiment_id)  # by another command, a moment ago
