"""Whether an MLflow server that knows its users lets this one log to an experiment: asked before any work.

Such a server looks at who asks before it looks at what is asked for. So what can't be carried out shows whether it
would be allowed to, and leaves nothing behind.
"""

from __future__ import annotations

import json
import urllib.error
from contextlib import suppress

from effbench.tracking.request import ask, user_of

FORBIDDEN = 403


def why_forbidden(uri: str, experiment: str, number: str | None, /) -> str | None:
    """Return why a user can't log to an experiment of a server; None where that may be, or nobody is known there.

    number: the experiment's own; None where it is still to be made. HTTPError where the server refuses in another way.
    """
    if user_of(uri) is None:
        return None
    try:
        if number is None:
            ask(uri, "/api/2.0/mlflow/experiments/create", {})  # without a name
        else:
            made = ask(uri, "/api/2.0/mlflow/runs/create", {"experiment_id": number, "start_time": "no time"})
            _take_back(uri, made)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == FORBIDDEN:
                return no_permission(uri, experiment, "make" if number is None else "log to")
            if error.code == 401:
                raise
    return None


def no_permission(uri: str, experiment: str, what: str, /) -> str:
    """Return what to say where a server knows the user, who may not do something with an experiment."""
    return (
        f"tracking.experiment={experiment}: {user_of(uri) or 'nobody'} has no permission there to {what} it (403); "
        "ask for it, sign in as another user (MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD), or name another "
        "tracking.experiment"
    )


def _take_back(uri: str, made: bytes) -> None:
    """Delete the run that a server began in spite of its impossible start."""
    with suppress(ValueError, KeyError, TypeError, OSError):
        ask(uri, "/api/2.0/mlflow/runs/delete", {"run_id": json.loads(made)["run"]["info"]["run_id"]})
