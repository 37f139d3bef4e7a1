"""Which tracking database is meant."""

from __future__ import annotations

import os
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

DATABASE = "mlflow.db"
SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks", "uc")
ANSWER_SECONDS = 5


def for_writing(uri: str | None, /) -> str:
    """Return the explicit URI, else MLFLOW_TRACKING_URI, else the database of the working folder."""
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / DATABASE}"


def for_reading(uri: str | None, /) -> str:
    """Return the explicit URI, else MLFLOW_TRACKING_URI, else the nearest database upwards from the working folder.

    ValueError where there is none: reading never creates one.
    """
    given = uri or os.environ.get("MLFLOW_TRACKING_URI")
    if given is None:
        here = Path.cwd()
        nearest = next((folder / DATABASE for folder in (here, *here.parents) if (folder / DATABASE).is_file()), None)
        if nearest is None:
            raise ValueError(f"there is no {DATABASE} in {here} or above it; run a sweep first, or give tracking_uri")
        return f"sqlite:///{nearest}"
    path = sqlite_path(given)
    if path is not None and not path.is_file():
        raise ValueError(f"tracking_uri={given}: there is no database at {path}")
    return given


def sqlite_path(uri: str, /) -> Path | None:
    """Return the file behind a SQLite URI, or None for another kind."""
    return Path(uri.removeprefix("sqlite:///").partition("?")[0]) if uri.startswith("sqlite:///") else None


def why_unusable(uri: str, /) -> str | None:
    """Return what is wrong with a URI that can't be one, or whose server does not answer; None where nothing is.

    MLflow itself would try for minutes before it says that nobody answers.
    """
    scheme = uri.partition(":")[0].partition("+")[0] if ":" in uri else uri
    if scheme not in SCHEMES:
        return "must be a server, as in http://127.0.0.1:5000, or a database, as in sqlite:///runs/mlflow.db"
    if scheme in ("http", "https"):
        try:
            with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=ANSWER_SECONDS):
                return None
        except urllib.error.HTTPError:  # whoever refuses is there
            return None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            return f"no server answers there ({getattr(reason, 'strerror', None) or reason})"
    return None


def why_unwritable(uri: str, /) -> str | None:
    """Return why nothing can be logged to a URI: it is unusable, or its database's folder can't be written."""
    path = sqlite_path(uri)
    if path is None:
        return why_unusable(uri)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            return None
    except OSError as error:
        return f"{path.parent} can't be written ({error.strerror or error}); name another folder"
