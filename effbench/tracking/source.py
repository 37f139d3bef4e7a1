"""Who began a sweep, and from where: MLflow's own tags of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.tracking.context.default_context import DefaultRunContext
from mlflow.tracking.context.jupyter_notebook_context import JupyterNotebookRunContext
from mlflow.utils.mlflow_tags import MLFLOW_SOURCE_NAME

from effbench.tracking.names import COMMIT, DIRTY

_PACKAGE = Path(__file__).parents[1]
GIT_SECONDS = 10
"""How long git may take to look whether files have changed, in a large folder."""


def source_tags() -> dict[str, str]:
    """Return the tags mlflow.user, mlflow.source.name and mlflow.source.type, as MLflow's own `start_run` gives them.

    The source is the script, the notebook, or, for a door of effbench's own, the command as it is typed.
    """
    tags = dict(DefaultRunContext().tags())  # type: ignore[no-untyped-call]
    notebook = JupyterNotebookRunContext()
    if notebook.in_context():  # type: ignore[no-untyped-call]
        tags |= notebook.tags()  # type: ignore[no-untyped-call]
    door = _door(sys.argv[0] if sys.argv else "")
    if door is not None:
        tags[MLFLOW_SOURCE_NAME] = door
    return {name: str(value) for name, value in tags.items() if value}


def git_tags() -> dict[str, str]:
    """Return the commit of the working folder, and whether files differ from it; nothing outside git."""
    try:
        commit = _git("rev-parse", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return {}
    try:
        is_dirty = bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return {COMMIT: commit, DIRTY: "unknown"}
    return {COMMIT: commit, DIRTY: "true"} if is_dirty else {COMMIT: commit}


def _git(*arguments: str) -> str:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # looking on writes nothing
    finished = subprocess.run(
        ["git", *arguments], capture_output=True, text=True, timeout=GIT_SECONDS, check=True, env=environment
    )
    return finished.stdout.strip()


def _door(main_file: str) -> str | None:
    """Return the command that began this process, if its main file is a door of effbench's."""
    path = Path(main_file)
    if path.name == "effbench":
        return "effbench sweep"
    if not path.is_relative_to(_PACKAGE) and not path.resolve().is_relative_to(_PACKAGE):
        return None
    inner = path.resolve().relative_to(_PACKAGE.resolve()).with_suffix("")
    parts = inner.parts[:-1] if inner.name == "__main__" else inner.parts
    return f"python -m {'.'.join(('effbench', *parts))}"


def active_run_of(client: MlflowClient, /) -> str | None:
    """Return the id of the run that the calling program has active, where it is one of the client's own database.

    It is only looked at: neither it nor the program's tracking URI or experiment is changed by that.
    """
    mlflow = sys.modules.get("mlflow")
    run = None if mlflow is None else mlflow.active_run()
    if run is None:
        return None
    try:
        return str(client.get_run(run.info.run_id).info.run_id)
    except MlflowException:  # it is in another database: its id would lead nowhere here
        return None
