"""The experiment that a sweep is logged to, looked at before any work: whether it can be, and where its files would go.

MLflow is not imported for it: a sweep's first run would begin seconds later.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
import urllib.error
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

from effbench.checks.errors import first_line
from effbench.checks.secrets import hide_in_uris, login_of
from effbench.checks.text import shell_quoted
from effbench.tracking.location import (
    is_odd,
    sqlite_path,
    why_no_answer,
    why_no_uri,
    why_unwritable,
    working_folder,
)
from effbench.tracking.permission import FORBIDDEN, no_permission, why_forbidden
from effbench.tracking.relocation import local_path
from effbench.tracking.request import ask_json, is_address, user_of
from effbench.tracking.sqlite_file import reading
from effbench.tracking.storage import why_no_client

ARTIFACT_SCHEMES = tuple(
    "s3 gs wasb wasbs abfss dbfs hdfs viewfs ftp sftp r2 b2 oci mlflow-artifacts http https".split()
)
"""Where MLflow can keep files, beside folders."""
DRIVERS = {
    "psycopg": "effbench[postgresql]",
    "psycopg2": "effbench[postgresql]",
    "MySQLdb": "mysqlclient",
    "pymysql": "pymysql",
    "pyodbc": "pyodbc",
}
"""What is to be installed for a database's driver, by its module."""
_EXPERIMENTS = "/api/2.0/mlflow/experiments"


@dataclass(frozen=True)
class Experiment:
    """What a database says of an experiment. artifacts: the URI below which the files of its runs lie."""

    number: str
    is_deleted: bool
    artifacts: str


def why_refused(uri: str, experiment: str, artifacts: str | None, /) -> str | None:
    """Return why a sweep can't be logged to an experiment, in one line that names the key; None where it can."""
    shown = f"tracking.uri={hide_in_uris(uri)}"
    is_server = is_address(uri)
    wrong = why_no_uri(uri) if is_server else why_unwritable(uri)
    if wrong is not None:
        return f"{shown}: {wrong}"
    try:
        wrong = None if artifacts is None else why_no_place(artifacts)
        if wrong is not None:
            return f"tracking.artifacts={hide_in_uris(artifacts or '')}: {wrong}"
        found = find_experiment(uri, experiment)
        wrong = _why_unfit(uri, experiment, artifacts, found)
        if wrong is None and is_server:
            wrong = why_forbidden(uri, experiment, None if found is None else found.number)
        return wrong
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == FORBIDDEN and user_of(uri) is not None:
            return no_permission(uri, experiment, "read")
        return f"{shown}: {_refusal(error)}" if error.code < 500 else None  # in trouble: the work can begin
    except OSError as error:
        return f"{shown}: {why_no_answer(error)}"
    except ValueError as error:
        return f"{shown}: {error}"


def artifact_uri(text: str, /) -> str:
    """Return the URI of a place for files: of a folder its absolute path's, any other as it is."""
    if text.startswith("file:") or "://" in text or text.startswith("mlflow-artifacts:"):
        return text.rstrip("/")
    return (working_folder() / os.path.expanduser(text)).as_uri()


def why_no_place(artifacts: str, /) -> str | None:
    """Return why files can't be kept at a URI or path."""
    uri = artifact_uri(artifacts)
    scheme = urlparse(uri).scheme
    login = login_of(uri)
    if login is not None and login.password:
        return "its password would stand in the database; leave it out, and give it as the storage's own variables say"
    if scheme != "file":
        known = ", ".join(ARTIFACT_SCHEMES)
        return why_no_client(uri) if scheme in ARTIFACT_SCHEMES else f"must be a folder, or a URI of {known}"
    try:
        unquote(urlparse(uri).path, errors="strict")
    except UnicodeDecodeError:
        return "MLflow takes no name that is not UTF-8; name another folder"
    path = local_path(uri)
    assert path is not None
    return _why_not_writable(path)


def find_experiment(uri: str, name: str, /) -> Experiment | None:
    """Return what is known of an experiment, deleted or not; None where there is none, or nothing can be told yet.

    ValueError where a database can't be asked, OSError where a server can't.
    """
    path = sqlite_path(uri)
    if path is not None:
        return _in_file(path, name)
    if is_address(uri):
        return _on_server(ask_json(uri, f"{_EXPERIMENTS}/get-by-name", experiment_name=name))
    return _in_database(uri, name) if not uri.startswith(("databricks", "uc")) else None


def _in_file(path: Path, name: str) -> Experiment | None:
    if not path.is_file() or path.stat().st_size == 0:
        return None
    try:
        with reading(path, wait_seconds=1) as connection:
            row = connection.execute(f"{_QUERY} = ?", (name,)).fetchone()
    except sqlite3.Error:  # locked or damaged: whoever opens it for writing says so
        return None
    return None if row is None else Experiment(str(row[0]), row[1] == "deleted", row[2] or "")


_QUERY = "SELECT experiment_id, lifecycle_stage, artifact_location FROM experiments WHERE name"


def _in_database(uri: str, name: str) -> Experiment | None:
    """Ask a database that has a server of its own (PostgreSQL, MySQL, …)."""
    import sqlalchemy  # takes a fifth of a second, which nobody else has to wait for

    try:
        engine = sqlalchemy.create_engine(uri)
        with closing(engine.connect()) as connection:
            if not sqlalchemy.inspect(connection).has_table("experiments"):
                return None
            row = connection.execute(sqlalchemy.text(f"{_QUERY} = :name"), {"name": name}).fetchone()
    except ImportError as error:
        package = DRIVERS.get(error.name or "")
        remedy = "" if package is None else f"; pip install '{package}'"
        raise ValueError(f"the driver of that database is not installed ({error}){remedy}") from None
    except TypeError as error:  # of psycopg, which gives bytes where the database does not say what its text is in
        raise ValueError(
            f"can't be used ({first_line(error)}): a database of PostgreSQL must be in UTF8 (createdb --encoding=UTF8 "
            "--template=template0)"
        ) from None
    except (sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        raise ValueError(f"can't be used ({first_line(error)})") from None
    return None if row is None else Experiment(str(row[0]), row[1] == "deleted", row[2] or "")


def _on_server(answer: object) -> Experiment | None:
    node = answer.get("experiment") if isinstance(answer, dict) else None
    if not isinstance(node, dict):
        return None
    is_deleted = node.get("lifecycle_stage") == "deleted"
    return Experiment(str(node.get("experiment_id", "")), is_deleted, str(node.get("artifact_location", "")))


def _why_unfit(uri: str, name: str, artifacts: str | None, found: Experiment | None) -> str | None:
    if found is not None and found.is_deleted:
        restore = f"{_environment(uri)}mlflow experiments restore --experiment-id {found.number}"
        return f"tracking.experiment={name}: was deleted; `{restore}` brings it back, or name another one"
    if found is not None and artifacts is not None and artifact_uri(artifacts) != artifact_uri(found.artifacts):
        return (
            f"tracking.artifacts={artifacts}: the files of tracking.experiment={name} go to {found.artifacts}; leave "
            "tracking.artifacts out, or name another tracking.experiment"
        )
    missing = None if found is None else why_no_client(found.artifacts)
    if found is not None and missing is not None:
        return f"tracking.experiment={name} has its files in {hide_in_uris(found.artifacts)}: {missing}"
    if sqlite_path(uri) is not None or artifacts is not None or uri.startswith(("databricks", "uc")):
        return None
    place = _default_location(uri) if found is None else found.artifacts
    missing = why_no_client(place)
    if missing is not None:
        return f"tracking.uri={hide_in_uris(uri)}: keeps files in {hide_in_uris(place)}: {missing}"
    folder = local_path(place)
    if folder is None or (found is not None and _why_not_writable(folder) is None):
        return None
    where = f"tracking.experiment={name} has its files in {folder}, which can't be written here; name another one, and"
    new = f"{hide_in_uris(uri)} keeps no files itself: those of all its users would go to {folder} on their machines;"
    return f"tracking.artifacts: {new if found is None else where} say where to, as in tracking.artifacts=s3://bucket"


def _default_location(uri: str) -> str:
    """Return where a server puts the files of its first experiment; of a database alone, a path."""
    if not is_address(uri):
        return "mlruns"
    first = _on_server(ask_json(uri, f"{_EXPERIMENTS}/get", experiment_id="0"))
    return "mlflow-artifacts:/" if first is None else first.artifacts


def _why_not_writable(folder: Path) -> str | None:
    """Return why no files can be kept in a folder; nothing is made."""
    nearest = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if not nearest.is_dir():
        return f"{nearest} is no folder"
    return None if os.access(nearest, os.W_OK | os.X_OK) else f"{nearest} can't be written"


def _refusal(error: urllib.error.HTTPError) -> str:
    if error.code in (401, 403):
        return (
            f"the server refuses ({error.code} {error.reason}); give user and password in MLFLOW_TRACKING_USERNAME "
            "and MLFLOW_TRACKING_PASSWORD"
        )
    return f"what answers there is no MLflow server ({error.code} {error.reason})"


def _environment(uri: str) -> str:
    """Return what to write before a command of MLflow's that is to go to a URI."""
    if os.environ.get("MLFLOW_TRACKING_URI") == uri:
        return ""
    path, login = sqlite_path(uri), login_of(uri)
    if path is not None and is_odd(str(path)):
        folder = "" if path.parent.resolve() == Path.cwd() else f"cd {shell_quoted(str(path.parent))} && "
        return f"{folder}MLFLOW_TRACKING_URI={shlex.quote(f'sqlite:///{path.name}')} "
    if uri.startswith("http") and login is not None:
        user = f"MLFLOW_TRACKING_USERNAME={shell_quoted(login.user)} MLFLOW_TRACKING_PASSWORD=*** "
        return f"MLFLOW_TRACKING_URI={shell_quoted(login.uri)} {user}"
    return f"MLFLOW_TRACKING_URI={shell_quoted(hide_in_uris(uri))} "
