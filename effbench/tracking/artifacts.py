"""Files of runs, read back from wherever they lie: beside the database, where it was moved to, on a server."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from effbench.tracking.location import sqlite_path
from effbench.tracking.relocation import Move, local_path, moves_of
from effbench.tracking.storage import is_of_storage, why_no_client

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

AT_ONCE = 8
"""How many files a server is asked for at the same time."""


def moves_at(uri: str, /) -> tuple[Move, ...]:
    """Return where the files of a database are now, if it was moved and nothing was logged to it since."""
    path = sqlite_path(uri)
    return () if path is None else moves_of(path)


def read_artifact(client: MlflowClient, run_id: str, name: str, moves: Iterable[Move], /) -> bytes:
    """Return a file of a run, from beside the database where that was moved."""
    if moves:
        folder = _folder(client.get_run(run_id).info.artifact_uri, moves, only_moved=True)
        if folder is not None:
            return (folder / name).read_bytes()
    try:
        return Path(client.download_artifacts(run_id, name)).read_bytes()
    except Exception as error:
        missing = why_no_client(client.get_run(run_id).info.artifact_uri)  # of which MLflow says nothing
        raise error if missing is None else OSError(missing) from None


def _folder(uri: str, moves: Iterable[Move], *, only_moved: bool = False) -> Path | None:
    """Return the folder of this machine where the files of a run lie; None where they don't."""
    for move in moves:
        moved = move.applied_to(uri)
        if moved is not None:
            return local_path(moved)
    return None if only_moved else local_path(uri)


class RunFiles:
    """The files of the runs of a database or server."""

    def __init__(self, uri: str, artifact_uris: Callable[[Sequence[str]], list[str]], /) -> None:
        """artifact_uris: returns where the files of runs lie, "" of what only MLflow's client knows."""
        self._uri, self._artifact_uris = uri, artifact_uris

    def texts(self, runs: Sequence[str], name: str, /) -> list[str | None]:
        """Return a file of each of the runs, by their ids; None where it can't be read.

        Those of this machine are read without MLflow; the others several at once.
        """
        moves = moves_at(self._uri)
        folders = [_folder(uri, moves) if uri else None for uri in self._artifact_uris(runs)]
        elsewhere = [run for run, folder in zip(runs, folders, strict=True) if folder is None]
        fetched = dict(zip(elsewhere, self._fetched(elsewhere, name), strict=True))
        return [
            fetched[run] if folder is None else _text(folder / name) for run, folder in zip(runs, folders, strict=True)
        ]

    def _fetched(self, runs: Sequence[str], name: str) -> list[str | None]:
        if not runs:
            return []
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        client = MlflowClient(self._uri)

        def fetch(run: str) -> str | None:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    return _text(Path(client.download_artifacts(run, name, folder)))
                except Exception as error:
                    if not isinstance(error, MlflowException | OSError | ImportError) and not is_of_storage(error):
                        raise
                    return None

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(fetch, runs))


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
