"""Runs to MLflow: one request per run for its values, one for its files."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.entities import Run, RunTag
from mlflow.exceptions import MlflowException

from effbench.checks.owner import Heartbeat, Owner, beat
from effbench.checks.secrets import hide_in_uris
from effbench.tracking import names
from effbench.tracking.entities import dataset_input, metric_entities, no_longer, param_batches, point_batches, run_name
from effbench.tracking.failures import speaking_plainly
from effbench.tracking.location import sqlite_path, why_unwritable
from effbench.tracking.opening import open_database
from effbench.tracking.owner import living, tag_of
from effbench.tracking.page import share_view
from effbench.tracking.relocation import has_files
from effbench.tracking.tracker import CurvePoint, RunRecord, RunStatus, TrackingError

if TYPE_CHECKING:
    from effbench.tracking.models import ServedNetwork


class MlflowTracker:
    """Logs a sweep to the MLflow at `uri`: a parent run with one nested run per point.

    Every method raises TrackingError, in one line, when MLflow can't be reached or can't write.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        *,
        artifacts: str | None = None,
        owner: Owner | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open the database (creating it once, even when several processes start together).

        artifacts: where the files of a new experiment go; owner: as whom to write; clock: seconds since 1970.
        """
        self._uri = uri
        wrong = why_unwritable(uri)
        if wrong is not None:
            raise TrackingError(f"tracking.uri={hide_in_uris(uri)}: {wrong}")
        with self._speaking_plainly():
            self._client, self._experiment_id = open_database(uri, experiment, artifacts)
        self._owner = Owner.here() if owner is None else owner
        self._clock = clock
        self._heartbeat: Heartbeat | None = None
        self._sweep_id = ""
        self._parent = ""
        self._run_ids: dict[str, str] = {}
        self._open: dict[str, str] = {}
        self._logged: dict[str, Mapping[str, float]] = {}
        self._without_files: set[str] = set()

    def open_sweep(self, sweep_id: str, *, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Continue the parent of that sweep, or begin one."""
        self._sweep_id = sweep_id
        with self._speaking_plainly():
            logged = self._search(f"tags.`{names.SWEEP}` = '{sweep_id}'")
            parents = [run for run in logged if names.PARENT not in run.data.tags]
            if parents:
                self._continue(min(parents, key=_first), logged, params)
            else:
                self._begin(name, params, {names.SWEEP: sweep_id, **tags})
        self._heartbeat = Heartbeat(self.beat)

    def _begin(self, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        mark = {tag_of(self._owner): beat(self._owner, self._clock())}
        run = self._client.create_run(self._experiment_id, run_name=run_name(name), tags={**tags, **mark})
        # Where two commands begin one sweep at once, both find both parents, and take the same.
        logged = self._search(f"tags.`{names.SWEEP}` = '{self._sweep_id}'")
        first = min((other for other in logged if names.PARENT not in other.data.tags), key=_first, default=run)
        if first.info.run_id == run.info.run_id:
            self._parent = run.info.run_id
            self._log_values(self._parent, params, {})
        else:
            self._client.delete_run(run.info.run_id)
            self._continue(first, logged, params)

    def _continue(self, parent: Run, logged: list[Run], params: Mapping[str, Any]) -> None:
        self._parent = parent.info.run_id
        self.beat()
        self._client.update_run(self._parent, status="RUNNING")
        there = parent.data.params  # all of them, unless whoever began it was killed at once
        self._log_values(self._parent, {key: value for key, value in params.items() if key not in there}, {})
        alive = living(parent.data.tags, self._clock()) - {self._owner}
        for tag in set(_owner_tags(parent)) - {tag_of(owner) for owner in (*alive, self._owner)}:
            self._client.delete_tag(self._parent, tag)
        for run in logged:
            if run.data.tags.get(names.PARENT) != self._parent:
                continue
            if run.info.status == "FINISHED":
                key = run.data.tags[names.RUN_KEY]
                self._run_ids[key], self._logged[key] = run.info.run_id, run.data.metrics
                if sqlite_path(self._uri) is not None and not has_files(run.info.artifact_uri, run.data.tags):
                    self._without_files.add(key)
            elif run.info.status == "RUNNING" and _owner_of(run) not in alive:  # whoever was logging it was killed
                self._client.set_terminated(run.info.run_id, "KILLED")

    def beat(self) -> None:
        """Say that this process is alive."""
        self._client.set_tag(self._parent, tag_of(self._owner), beat(self._owner, self._clock()))

    def finished_keys(self) -> frozenset[str]:
        """Return the keys of the runs that the sweep has as FINISHED."""
        return frozenset(self._run_ids)

    def keys_without_files(self) -> frozenset[str]:
        """Return the keys of finished runs whose files are gone from where they were kept."""
        return frozenset(self._without_files)

    def log_files(self, key: str, files: Mapping[str, bytes]) -> None:
        """Keep files of a finished run, once more where they are there."""
        with self._speaking_plainly():
            self._log_files(self._run_ids[key], files)
        self._without_files.discard(key)

    def log_run(self, record: RunRecord, *, status: RunStatus, reused: bool = False) -> None:
        """Log a run that ended: its values first, its end last."""
        with self._speaking_plainly():
            tags = {names.FILES: json.dumps(list(record.files)), **record.tags}
            origin = self._origin(record.key) if reused else None
            if origin is not None:
                tags[names.REUSED] = origin
            run_id = self._opened(record, tags)
            self._log_values(run_id, record.params, record.metrics, record.points)
            if record.dataset is not None:
                self._client.log_inputs(run_id, [dataset_input(record.dataset)])
            self._log_files(run_id, record.files)
            self._client.set_terminated(run_id, status)
        self._open.pop(record.key, None)
        if status == "FINISHED":
            self._run_ids[record.key] = run_id

    def begin_run(self, record: RunRecord) -> None:
        """Begin a run that goes on: it is RUNNING until `log_run` ends it."""
        with self._speaking_plainly():
            self._open[record.key] = self._opened(record, record.tags)
            self._log_values(self._open[record.key], record.params, {})

    def log_points(self, key: str, points: Sequence[CurvePoint]) -> None:
        """Log points of the training curves of a run that was begun."""
        with self._speaking_plainly():
            for batch in point_batches(points):
                self._client.log_batch(self._open[key], metrics=batch)

    def keys_with_models(self) -> frozenset[str]:
        """Return the keys of the sweep's runs whose networks are logged as models."""
        from effbench.tracking.models import keys_with_models  # half a second, for which not everyone asks

        with self._speaking_plainly():
            return keys_with_models(self._client, self._experiment_id, self._sweep_id)

    def log_model(self, key: str, served: ServedNetwork) -> str | None:
        """Log the network of a finished run as a model; returns, in a line, why it can't be one."""
        from effbench.tracking.models import NotExportable, log_network

        try:
            with self._speaking_plainly():
                log_network(self._client, self._run_ids[key], served)
        except NotExportable as error:
            return str(error)
        return None

    def share_view(self, params: Sequence[str], metrics: Sequence[str], *, order: str, with_models: bool) -> str:
        """Have MLflow show the sweep's runs with these columns, ordered by a metric; returns the page's path."""
        with self._speaking_plainly():
            there = (self._client, self._experiment_id, self._parent, self._sweep_id)
            return share_view(*there, params=params, metrics=metrics, order=order, with_models=with_models)

    def _opened(self, record: RunRecord, tags: Mapping[str, str]) -> str:
        """Return the id of the run that is open for a record's key, with these tags; it begins where there is none."""
        if record.key in self._open:
            run_id = self._open[record.key]
            self._client.log_batch(run_id, tags=[RunTag(tag, value) for tag, value in tags.items()])
            return run_id
        own = {
            names.PARENT: self._parent,
            names.SWEEP: self._sweep_id,
            names.RUN_KEY: record.key,
            names.OWNER: str(self._owner),
        }
        run = self._client.create_run(self._experiment_id, run_name=run_name(record.name), tags={**own, **tags})
        return str(run.info.run_id)

    def log_metrics(self, key: str, metrics: Mapping[str, float]) -> None:
        """Add metrics to a finished run; those that it has already are not logged once more."""
        logged = self._logged.get(key, {})
        new = {name: value for name, value in metrics.items() if logged.get(name) != value}
        if new:
            with self._speaking_plainly():
                self._client.log_batch(self._run_ids[key], metrics=metric_entities(new))

    def close_sweep(
        self,
        *,
        status: RunStatus,
        metrics: Mapping[str, float],
        files: Mapping[str, bytes],
        tags: Mapping[str, str],
    ) -> None:
        """End the parent with what came out, unless another process is still at the same sweep.

        MLflow deletes no metric: one that is no more becomes NaN.
        """
        with self._speaking_plainly():
            gone = self._client.get_run(self._parent).data.metrics.keys() - metrics.keys()
            run_tags = [RunTag(key, value) for key, value in tags.items()]
            entries = [*metric_entities(metrics), *no_longer(gone)]
            self._client.log_batch(self._parent, metrics=entries, tags=run_tags)
            self._log_files(self._parent, files)
            self._leave(status)

    def abandon_sweep(self) -> None:
        """End what this process has open, and the parent unless another one is still at it, as KILLED."""
        if not self._parent:
            return
        with self._speaking_plainly():
            self._leave("KILLED")

    def _leave(self, status: RunStatus) -> None:
        """Take this owner's mark from the parent, and end it where nobody else's is left.

        Runs that this process has still open, when it is interrupted or lost its server in the middle, were KILLED.
        """
        if self._heartbeat is not None:
            self._heartbeat.stop()
        for run in self._search(f"tags.`{names.SWEEP}` = '{self._sweep_id}' and attributes.status = 'RUNNING'"):
            if run.data.tags.get(names.PARENT) == self._parent and _owner_of(run) == self._owner:
                self._client.set_terminated(run.info.run_id, "KILLED")
        with suppress(MlflowException):  # it is gone already
            self._client.delete_tag(self._parent, tag_of(self._owner))
        if not living(self._client.get_run(self._parent).data.tags, self._clock()) - {self._owner}:
            self._client.set_terminated(self._parent, status)

    def _speaking_plainly(self) -> AbstractContextManager[None]:
        """Turn whatever MLflow and its database raise into a TrackingError."""
        return speaking_plainly(self._uri)

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

    def _log_values(
        self,
        run_id: str,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        points: Sequence[CurvePoint] = (),
    ) -> None:
        first, *others = param_batches(params)
        batches = point_batches(points)
        self._client.log_batch(run_id, params=first, metrics=[*metric_entities(metrics), *next(batches, [])])
        for batch in others:
            self._client.log_batch(run_id, params=batch)
        for left in batches:
            self._client.log_batch(run_id, metrics=left)

    def _log_files(self, run_id: str, files: Mapping[str, bytes]) -> None:
        if not files:
            return
        with tempfile.TemporaryDirectory() as private:
            folder = Path(private, "files")  # whose rights are copied, too: those that the user's umask gives
            folder.mkdir()
            for name, content in files.items():
                (folder / name).write_bytes(content)
            self._client.log_artifacts(run_id, str(folder))


def _first(run: Run) -> tuple[int, str]:
    """Order runs by their beginning; any process orders them alike."""
    return int(run.info.start_time), str(run.info.run_id)


def _owner_of(run: Run) -> Owner | None:
    return Owner.of_text(run.data.tags.get(names.OWNER, ""))


def _owner_tags(parent: Run) -> Iterator[str]:
    return (name for name in parent.data.tags if name.startswith(f"{names.OWNER}/"))
