"""Runs to MLflow: one request per run for its values, one for its files."""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
from mlflow.entities import Dataset as MlflowDataset
from mlflow.entities import DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from effbench.checks.errors import first_line
from effbench.tracking import names
from effbench.tracking.location import sqlite_path, why_unwritable
from effbench.tracking.tracker import Dataset, RunRecord, RunStatus, TrackingError

EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""What makes MLflow's pages open on runs and metrics, not on prompts and traces."""
MAX_PARAM_LENGTH = 500
BATCH = 100
"""MLflow takes at most 100 params in one request."""


class MlflowTracker:
    """Logs a sweep to the MLflow at `uri`: a parent run with one nested run per point.

    Every method raises TrackingError, in one line, when MLflow can't be reached or can't write.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        """Open the database (creating it once, even when several processes start together)."""
        self._uri = uri
        wrong = why_unwritable(uri)
        if wrong is not None:
            raise TrackingError(f"tracking.uri={uri}: {wrong}")
        with self._speaking_plainly():
            self._client, self._experiment_id = _open(uri, experiment)
        self._sweep_id = ""
        self._parent = ""
        self._run_ids: dict[str, str] = {}
        self._logged: dict[str, Mapping[str, float]] = {}

    def open_sweep(self, sweep_id: str, *, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Continue the parent of that sweep, or begin one."""
        self._sweep_id = sweep_id
        with self._speaking_plainly():
            logged = self._search(f"tags.`{names.SWEEP}` = '{sweep_id}'")
            parents = [run for run in logged if names.PARENT not in run.data.tags]
            if not parents:
                run_tags = {names.SWEEP: sweep_id, **tags}
                self._parent = self._client.create_run(self._experiment_id, run_name=name, tags=run_tags).info.run_id
                self._log_values(self._parent, params, {})
                return
            self._parent = parents[0].info.run_id
            self._client.update_run(self._parent, status="RUNNING")
            there = parents[0].data.params  # all of them, unless whoever began it was killed at once
            self._log_values(self._parent, {key: value for key, value in params.items() if key not in there}, {})
            for run in logged:
                if run.data.tags.get(names.PARENT) != self._parent:
                    continue
                if run.info.status == "FINISHED":
                    self._run_ids[run.data.tags[names.RUN_KEY]] = run.info.run_id
                    self._logged[run.data.tags[names.RUN_KEY]] = run.data.metrics
                elif run.info.status == "RUNNING":  # whoever was logging it was killed
                    self._client.set_terminated(run.info.run_id, "KILLED")

    def finished_keys(self) -> frozenset[str]:
        """Return the keys of the runs that the sweep has as FINISHED."""
        return frozenset(self._run_ids)

    def log_run(self, record: RunRecord, *, status: RunStatus, reused: bool = False) -> None:
        """Log a run that ended: its values first, its end last."""
        with self._speaking_plainly():
            tags = {names.PARENT: self._parent, names.SWEEP: self._sweep_id, names.RUN_KEY: record.key, **record.tags}
            origin = self._origin(record.key) if reused else None
            if origin is not None:
                tags[names.REUSED] = origin
            run_id = self._client.create_run(self._experiment_id, run_name=record.name, tags=tags).info.run_id
            self._log_values(run_id, record.params, record.metrics)
            if record.dataset is not None:
                self._client.log_inputs(run_id, [_dataset_input(record.dataset)])
            self._log_files(run_id, record.files)
            self._client.set_terminated(run_id, status)
        if status == "FINISHED":
            self._run_ids[record.key] = run_id

    def log_metrics(self, key: str, metrics: Mapping[str, float]) -> None:
        """Add metrics to a finished run; those that it has already are not logged once more."""
        logged = self._logged.get(key, {})
        new = {name: value for name, value in metrics.items() if logged.get(name) != value}
        if new:
            with self._speaking_plainly():
                self._client.log_batch(self._run_ids[key], metrics=_metrics(new))

    def close_sweep(
        self,
        *,
        status: RunStatus,
        metrics: Mapping[str, float],
        files: Mapping[str, bytes],
        tags: Mapping[str, str],
    ) -> None:
        """End the parent with what came out. MLflow deletes no metric: one that is no more becomes NaN."""
        with self._speaking_plainly():
            gone = self._client.get_run(self._parent).data.metrics.keys() - metrics.keys()
            now = round(time.time() * 1000)
            entries = [*_metrics(metrics), *(Metric(name, math.nan, now, 0) for name in sorted(gone))]
            run_tags = [RunTag(key, value) for key, value in tags.items()]
            self._client.log_batch(self._parent, metrics=entries, tags=run_tags)
            self._log_files(self._parent, files)
            self._client.set_terminated(self._parent, status)

    def abandon_sweep(self) -> None:
        """End the parent, and whatever is open, as KILLED."""
        if not self._parent:
            return
        with self._speaking_plainly():
            for run in self._search(f"tags.`{names.SWEEP}` = '{self._sweep_id}' and attributes.status = 'RUNNING'"):
                if run.info.run_id == self._parent or run.data.tags.get(names.PARENT) == self._parent:
                    self._client.set_terminated(run.info.run_id, "KILLED")

    @contextmanager
    def _speaking_plainly(self) -> Iterator[None]:
        """Turn whatever MLflow and its database raise into a TrackingError."""
        try:
            yield
        except (MlflowException, SQLAlchemyError, OSError) as error:
            reason = first_line(error) or type(error).__name__
            remedy = _remedy(error, self._uri)
            raise TrackingError(f"tracking.uri={self._uri}: can't be used ({reason}){remedy}") from error

    def _origin(self, key: str) -> str | None:
        """Return the finished run of another sweep with that key, if one is logged here."""
        wanted = f"tags.`{names.RUN_KEY}` = '{key}' and attributes.status = 'FINISHED'"
        runs = self._client.search_runs([self._experiment_id], wanted, max_results=1, order_by=["start_time ASC"])
        return runs[0].info.run_id if runs else None

    def _search(self, filter_string: str) -> list[Run]:
        runs: list[Run] = []
        token = None
        while True:
            page = self._client.search_runs([self._experiment_id], filter_string, max_results=1000, page_token=token)
            runs += page
            token = page.token
            if not token:
                return runs

    def _log_values(self, run_id: str, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        entries = [Param(key, str(value)[:MAX_PARAM_LENGTH]) for key, value in params.items()]
        self._client.log_batch(run_id, params=entries[:BATCH], metrics=_metrics(metrics))
        for start in range(BATCH, len(entries), BATCH):
            self._client.log_batch(run_id, params=entries[start : start + BATCH])

    def _log_files(self, run_id: str, files: Mapping[str, bytes]) -> None:
        if not files:
            return
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                Path(folder, name).write_bytes(content)
            self._client.log_artifacts(run_id, folder)


def _open(uri: str, experiment: str) -> tuple[MlflowClient, str]:
    """Return a client and the experiment's id."""
    path = sqlite_path(uri)
    if path is None:
        client = MlflowClient(uri)
        return client, _experiment_id(client, experiment, None)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes that create the database at once would both run MLflow's migrations, and one would crash.
    with filelock.FileLock(f"{path}.lock"):
        if not path.exists() or path.stat().st_size == 0:
            _create_database(path)
        client = MlflowClient(uri)
        return client, _experiment_id(client, experiment, (path.parent / "mlruns").resolve().as_uri())


def _create_database(path: Path) -> None:
    """Make an empty database: whole or not at all.

    MLflow's migrations take a second, and a database that was left in the middle of them can't be opened any more.
    """
    part = path.with_name(f"{path.name}.part")
    for left in path.parent.iterdir():
        if left.name.startswith(part.name):  # of one that was killed, and its journal
            left.unlink()
    MlflowClient(f"sqlite:///{part}")
    os.replace(part, path)


_PASSING = ("locked", "disk is full", "disk I/O", "readonly", "unable to open")


def _remedy(error: Exception, uri: str) -> str:
    """Return what helps where a database's file itself is at fault, not a lock, a full disk or a missing right."""
    is_sound = not isinstance(error, SQLAlchemyError) and "sqlite3." not in str(error)
    if sqlite_path(uri) is None or is_sound or any(words in str(error) for words in _PASSING):
        return ""
    return "; move that file away, or name another tracking.uri"


def _experiment_id(client: MlflowClient, name: str, artifact_location: str | None) -> str:
    existing = client.get_experiment_by_name(name)
    if existing is not None:
        return str(existing.experiment_id)
    return str(client.create_experiment(name, artifact_location, tags=EXPERIMENT_TAGS))


def _metrics(metrics: Mapping[str, float]) -> list[Metric]:
    now = round(time.time() * 1000)
    return [Metric(name, float(value), now, 0) for name, value in metrics.items() if not math.isnan(value)]


def _dataset_input(dataset: Dataset) -> DatasetInput:
    entity = MlflowDataset(
        name=dataset.name,
        digest=dataset.digest,
        source_type="code",
        source=json.dumps({"tags": {"source": dataset.source}}),
        profile=json.dumps({f"n_{split}": size for split, size in dataset.sizes.items()}),
    )
    return DatasetInput(entity, [InputTag("mlflow.data.context", "training")])
