"""Which tracking database is meant."""

from __future__ import annotations

import os
from pathlib import Path

DATABASE = "mlflow.db"


def for_writing(uri: str | None, /) -> str:
    """Return the explicit URI, else MLFLOW_TRACKING_URI, else the database of the working folder."""
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / DATABASE}"


def for_reading(uri: str | None, /) -> str:
    """Return the explicit URI, else MLFLOW_TRACKING_URI, else the nearest database upwards from the working folder.

    ValueError where there is none: reading never creates one.
    """
    found = uri or os.environ.get("MLFLOW_TRACKING_URI")
    if found is None:
        here = Path.cwd()
        nearest = next((folder / DATABASE for folder in (here, *here.parents) if (folder / DATABASE).is_file()), None)
        if nearest is None:
            raise ValueError(f"there is no {DATABASE} in {here} or above it; run a sweep first, or give tracking_uri")
        return f"sqlite:///{nearest}"
    path = sqlite_path(found)
    if path is not None and not path.is_file():
        raise ValueError(f"tracking_uri={found}: there is no database at {path}")
    return found


def sqlite_path(uri: str, /) -> Path | None:
    """Return the file behind a SQLite URI, or None for another kind."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None
