"""What MLflow and its database raise, in one line that names the key and, where there is one, a remedy."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from effbench.checks.errors import first_line
from effbench.checks.secrets import hide_in_uris, without_secrets
from effbench.tracking.location import sqlite_path
from effbench.tracking.storage import is_of_storage
from effbench.tracking.tracker import TrackingError


@contextmanager
def speaking_plainly(uri: str, /) -> Iterator[None]:
    """Turn whatever MLflow and its database at `uri` raise into a TrackingError."""
    try:
        yield
    except Exception as error:
        # SQLAlchemy may say where it noticed before it says what went wrong.
        reason = first_line(re.sub(r"^\(raised as a result of [^\n]*\)\n", "", str(error))) or type(error).__name__
        if isinstance(error, _OF_MLFLOW):
            message = f"tracking.uri={hide_in_uris(uri)}: can't be used ({reason}){_remedy(error, uri)}"
        elif is_of_storage(error):
            message = f"tracking.artifacts: the files of runs can't be kept where they are to be ({reason})"
        else:
            raise
        raise TrackingError(without_secrets(message)) from error


_OF_MLFLOW = (MlflowException, SQLAlchemyError, sqlite3.Error, OSError)


_PASSING = ("locked", "disk is full", "disk I/O", "readonly", "unable to open")


def _remedy(error: Exception, uri: str) -> str:
    """Return what helps where a database's file itself is at fault, not a lock, a full disk or a missing right."""
    is_sound = not isinstance(error, SQLAlchemyError | sqlite3.Error) and "sqlite3." not in str(error)
    if sqlite_path(uri) is None or is_sound or any(words in str(error) for words in _PASSING):
        return ""
    return "; move that file away, or name another tracking.uri"
