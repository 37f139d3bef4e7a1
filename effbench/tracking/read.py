"""Runs from MLflow, as one table."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from effbench.analysis import Counts
from effbench.checks.errors import first_line
from effbench.checks.secrets import without_secrets
from effbench.run.counts import unpack_counts
from effbench.tracking import names
from effbench.tracking.database import Database
from effbench.tracking.frame import runs_frame
from effbench.tracking.location import for_reading, sqlite_path, why_unusable
from effbench.tracking.logged import LoggedRuns
from effbench.tracking.relocation import Move, local_path, moves_of
from effbench.tracking.storage import is_of_storage, why_no_client

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


class Source(Protocol):
    """Where runs are read from."""

    def runs(self, experiment: str, sweep: str | None, /) -> LoggedRuns | None:
        """Return the runs of an experiment, of one sweep or of all; None where there is no such experiment."""

    def experiments(self) -> list[str]:
        """Return the names of the experiments there are."""

    def sweeps(self, experiment: str, /) -> list[str]:
        """Return the ids of the sweeps that have runs in an experiment."""


def load_runs(
    experiment: str = "effbench", *, sweep: str | None = None, tracking_uri: str | None = None
) -> pd.DataFrame:
    """Return the finished runs of an experiment, one row each, and each run key once (the latest).

    Columns: run_id, run_name, sweep, run_key, point (the label shared by a point's seeds), reference (bool),
    reference_key, what the quality is (quality_name, _kind, _unit, _direction, _chance), start_time, then the params
    (axes under their own names, seed) and the metrics, but no training curves. `sweep` keeps one sweep (its id, or the
    beginning of it).
    `.attrs`: "unfinished" lists the other runs as (run_id, run_name, status, error), "failed" the point, seed and group
    of failed ones; "axes" names the axes that were swept, "moves" the costs that each of them changes,
    "extra_qualities" what the task counts beside its own quality. ValueError where there is no database, experiment or
    sweep of that name.

    >>> import effbench, torch
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    >>> result = effbench.run_sweep(
    ...     model=network, bits=[4], finetune={"epochs": 0}, measure={"seconds": 0.01}, progress=False
    ... )
    >>> runs = effbench.load_runs(sweep=result.sweep_id)
    >>> runs[["point", "bits"]].to_numpy().tolist()
    [['reference', 32], ['bits=4', 4]]
    >>> effbench.load_counts(runs).by_run[runs["run_key"][0]].shape  # 1,000 validation examples, correct and seen
    (1000, 1, 2)
    """
    return runs_frame(_logged(experiment, sweep, for_reading(tracking_uri)))


def load_counts(runs: pd.DataFrame, /, *, quality: str | None = None, tracking_uri: str | None = None) -> Counts:
    """Return what each example adds to the quality of each of the `runs` (of `load_runs`), for intervals.

    quality: the task's own on validation (None, or as in "accuracy_val"), or on test ("accuracy"); examples come in the
    split's fixed order, so that runs can be compared example by example. ValueError for another quality, for runs of
    several qualities, and for a run without counts.

    >>> import effbench
    >>> result = effbench.run_sweep(bits=[4], train={"epochs": 0}, measure={"seconds": 0.01}, progress=False)
    >>> counts = effbench.load_counts(effbench.load_runs(sweep=result.sweep_id), quality="accuracy")
    >>> counts.kind, len(counts.by_run)
    ('ratio', 2)
    """
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    names_there = list(dict.fromkeys(runs["quality_name"])) if "quality_name" in runs.columns else []
    if len(names_there) != 1:
        raise ValueError(f"the runs have {len(names_there)} qualities ({', '.join(map(str, names_there))}): select one")
    own = str(names_there[0])
    if quality not in (None, own, f"{own}_val"):
        raise ValueError(f"quality={quality}: counts are known of {own}_val and of {own}")
    uri = for_reading(tracking_uri)
    client, moves = MlflowClient(uri), _moves_of(uri)
    by_run = {}
    for run_id, key in zip(runs["run_id"], runs["run_key"], strict=True):
        try:
            val, test = unpack_counts(_artifact(client, run_id, names.COUNTS, moves))
        except Exception as error:
            if not isinstance(error, MlflowException | OSError | ValueError | ImportError) and not is_of_storage(error):
                raise
            reason = without_secrets(first_line(error))
            raise ValueError(f"run {key}: its counts can't be read ({reason})") from None
        by_run[key] = test if quality == own else val
    return Counts(kind=runs["quality_kind"].iloc[0], by_run=by_run)


def load_network(run_id: str, /, *, tracking_uri: str | None = None) -> tuple[bytes, dict[str, Any]]:
    """Return the file of a finished run, and what builds its network before its stages (`names.NETWORK`).

    ValueError where there is no such run, where it has no file, and where it does not say what its network is.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    uri = for_reading(tracking_uri)
    client = MlflowClient(uri)
    try:
        described = client.get_run(run_id).data.tags.get(names.NETWORK)
        blob = _artifact(client, run_id, names.MODEL_FILE, _moves_of(uri))
    except Exception as error:
        if not isinstance(error, MlflowException | OSError | ImportError) and not is_of_storage(error):
            raise
        raise ValueError(f"run={run_id}: can't be read ({without_secrets(first_line(error))})") from None
    if described is None:
        raise ValueError(
            f"run={run_id}: was logged by an earlier effbench, which did not say what builds its network; "
            "effbench.decode(blob, network) takes its model.effb and a network of the same kind"
        )
    return blob, json.loads(described)


def load_file(run_id: str, name: str, /, *, tracking_uri: str | None = None) -> bytes:
    """Return a file of a run. ValueError, in one line, where it is not there."""
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    uri = for_reading(tracking_uri)
    try:
        return _artifact(MlflowClient(uri), run_id, name, _moves_of(uri))
    except (MlflowException, OSError) as error:
        raise ValueError(f"run={run_id}: its {name} can't be read ({without_secrets(first_line(error))})") from None


def _moves_of(uri: str) -> tuple[Move, ...]:
    """Return where the files of a database are now, if it was moved and nothing was logged to it since."""
    path = sqlite_path(uri)
    return () if path is None else moves_of(path)


def _artifact(client: MlflowClient, run_id: str, name: str, moves: Iterable[Move]) -> bytes:
    """Return a file of a run, from beside the database where that was moved."""
    if moves:
        written = client.get_run(run_id).info.artifact_uri
        for folder in (local_path(uri) for move in moves if (uri := move.applied_to(written)) is not None):
            if folder is not None:
                return (folder / name).read_bytes()
    try:
        return Path(client.download_artifacts(run_id, name)).read_bytes()
    except Exception as error:
        missing = why_no_client(client.get_run(run_id).info.artifact_uri)  # of which MLflow says nothing
        raise error if missing is None else OSError(missing) from None


def _logged(experiment: str, sweep: str | None, uri: str) -> LoggedRuns:
    wrong = why_unusable(uri)
    if wrong is not None:
        raise ValueError(f"tracking_uri={uri}: {wrong}")
    path = sqlite_path(uri)
    if path is not None:
        with suppress(sqlite3.Error):  # of another version, left in the middle of something, damaged: MLflow knows
            return _chosen(Database(path), experiment, sweep, uri)
    from effbench.tracking.server import READ_ERRORS, Server

    try:
        return _chosen(Server(uri), experiment, sweep, uri)
    except READ_ERRORS as error:
        raise ValueError(f"tracking_uri={uri}: can't be read ({first_line(error)})") from None


def _chosen(source: Source, experiment: str, sweep: str | None, uri: str) -> LoggedRuns:
    """Return the runs. ValueError where there is no such experiment or sweep, with those that there are."""
    runs = source.runs(experiment, sweep)
    if runs is None:
        known = ", ".join(sorted(source.experiments()))
        raise ValueError(f"experiment={experiment}: there is none of that name in {uri}; there are {known}")
    if sweep is not None and not runs.ids:
        known = ", ".join(sorted(source.sweeps(experiment))) or "none"
        raise ValueError(f"sweep={sweep}: there is none of that id; there are {known}")
    return runs
