"""Runs from MLflow, as one table."""

from __future__ import annotations

import difflib
import json
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

import pandas as pd

from effbench.analysis import Counts
from effbench.checks.errors import first_line
from effbench.checks.secrets import hide_in_uris, without_secrets
from effbench.run.counts import unpack_counts, unpack_test_examples
from effbench.tracking import names
from effbench.tracking.artifacts import RunFiles, moves_at, read_artifact
from effbench.tracking.configurations import with_columns
from effbench.tracking.database import Database
from effbench.tracking.experiment import find_experiment
from effbench.tracking.frame import runs_frame
from effbench.tracking.location import for_reading, sqlite_path, why_unusable
from effbench.tracking.logged import LoggedRuns
from effbench.tracking.request import is_address
from effbench.tracking.storage import is_of_storage


class Source(Protocol):
    """Where runs are read from."""

    def runs(self, experiments: Sequence[str], sweep: str | None, /) -> LoggedRuns | None:
        """Return the runs of experiments, of one sweep or of all; None where there is not every one of these."""

    def artifact_uris(self, runs: Sequence[str], /) -> list[str]:
        """Return the URIs below which the files of runs lie, by the runs' ids; "" where only MLflow's client knows."""

    def experiments(self) -> list[str]:
        """Return the names of the experiments there are."""

    def sweeps(self, experiment: str, /) -> list[str]:
        """Return the ids of the sweeps that have runs in an experiment."""


def load_runs(
    experiment: str | Sequence[str] = "effbench",
    *,
    sweep: str | None = None,
    columns: str | Sequence[str] = (),
    tracking_uri: str | None = None,
) -> pd.DataFrame:
    """Return the finished runs of an experiment, one row each, and each run key once (the latest).

    Columns: run_id, run_name, sweep, run_key, point (the label shared by a point's seeds), reference (bool),
    reference_key, control and refined (bool: `sweep.refine` added it), what the quality is (quality_name, _kind, _unit,
    _direction, _chance), start_time (when it was begun to be computed), then the params (axes under their own names,
    seed) and the metrics, but no training curves.

    experiment: a name, or a list of names, whose runs are then in one table with a column `experiment`. sweep: keeps
    one sweep (its id, or the beginning of it). columns: more keys of the runs' configurations, under the names that
    the command has for them, as in columns=["train.weight_decay", "stage.prune.criterion"]; columns=["train"] brings
    all that begin so. They are read from the runs' config.yaml.

    `.attrs`: "unfinished" lists the other runs as (run_id, run_name, status, error), "failed" the point, seed and group
    of failed ones; "repeated" finished runs that a later one of their key replaces, as (run_id, run_name, run_key);
    "incomplete" the rows that lack a finite quality or finite bytes, as (run_id, run_name, what is missing); "axes"
    names the axes that were swept, "moves" the costs that each of them changes, "extra_qualities" what the task counts
    beside its own quality. ValueError where there is no database, experiment or sweep of that name, or no such key.

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
    names_asked, keys, uri = _names(experiment), _keys(columns), for_reading(tracking_uri)
    logged, source = _logged(names_asked, sweep, uri)
    frame = runs_frame(logged, says_experiment=not isinstance(experiment, str))
    return with_columns(frame, keys, RunFiles(uri, source.artifact_uris)) if keys else frame


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
    client, moves = MlflowClient(uri), moves_at(uri)
    is_test, by_run, examples = quality == own, {}, {}
    for run_id, key in zip(runs["run_id"], runs["run_key"], strict=True):
        try:
            content = read_artifact(client, run_id, names.COUNTS, moves)
            by_run[key] = unpack_counts(content)[int(is_test)]
            examples[key] = unpack_test_examples(content) if is_test else {}
        except Exception as error:
            if not isinstance(error, MlflowException | OSError | ValueError | ImportError) and not is_of_storage(error):
                raise
            reason = without_secrets(first_line(error))
            raise ValueError(f"run {key}: its counts can't be read ({reason})") from None
    return Counts(kind=runs["quality_kind"].iloc[0], by_run=by_run, examples=examples)


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
        blob = read_artifact(client, run_id, names.MODEL_FILE, moves_at(uri))
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
        return read_artifact(MlflowClient(uri), run_id, name, moves_at(uri))
    except (MlflowException, OSError) as error:
        raise ValueError(f"run={run_id}: its {name} can't be read ({without_secrets(first_line(error))})") from None


def _logged(experiments: Sequence[str], sweep: str | None, uri: str) -> tuple[LoggedRuns, Source]:
    shown = hide_in_uris(uri)
    wrong = why_unusable(uri)
    if wrong is not None:
        raise ValueError(f"tracking_uri={shown}: {wrong}")
    path = sqlite_path(uri)
    if path is not None:
        with suppress(sqlite3.Error):  # of another version, left in the middle of something, damaged: MLflow knows
            database = Database(path)
            return _chosen(database, experiments, sweep, shown), database
    from effbench.tracking.server import READ_ERRORS, Server

    try:
        if not is_address(uri):  # MLflow asks a database that does not answer for a minute and a half
            find_experiment(uri, experiments[0])
    except ValueError as error:
        raise ValueError(f"tracking_uri={shown}: {without_secrets(str(error))}") from None
    try:
        server = Server(uri)
        return _chosen(server, experiments, sweep, shown), server
    except READ_ERRORS as error:
        raise ValueError(f"tracking_uri={shown}: can't be read ({without_secrets(first_line(error))})") from None


def _chosen(source: Source, experiments: Sequence[str], sweep: str | None, shown: str) -> LoggedRuns:
    """Return the runs. ValueError where there is no such experiment or sweep, with those that there are."""
    runs = source.runs(experiments, sweep)
    if runs is None:
        there = sorted(source.experiments())
        name = next((name for name in experiments if name not in there), experiments[0])
        near = difflib.get_close_matches(name, there, n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        known = ", ".join(there)
        raise ValueError(f"experiment={name}: there is none of that name in {shown}; {meant}there are {known}")
    if sweep is not None and not runs.ids:
        ids = {sweep_id for name in experiments for sweep_id in source.sweeps(name)}
        raise ValueError(f"sweep={sweep}: there is none of that id; there are {', '.join(sorted(ids)) or 'none'}")
    return runs


def _names(experiment: str | Sequence[str]) -> list[str]:
    """Return the names of the experiments that are asked for, each once."""
    asked = [experiment] if isinstance(experiment, str) else list(experiment)
    wrong = next((name for name in asked if not isinstance(name, str)), None)
    if not asked or wrong is not None:
        raise ValueError(f"experiment={experiment!r}: must be the name of an experiment, or a list of names")
    return list(dict.fromkeys(asked))


def _keys(columns: str | Sequence[str]) -> list[str]:
    asked = [columns] if isinstance(columns, str) else list(columns)
    wrong = next((name for name in asked if not isinstance(name, str) or not name), None)
    if wrong is not None:
        raise ValueError(f"columns={wrong!r}: must be keys of the configuration, as in columns=['train.weight_decay']")
    return asked
