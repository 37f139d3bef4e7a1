"""Runs to MLflow: a few requests per run, at its beginning and at its end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from effbench.checks.owner import Owner
from effbench.checks.secrets import hide_in_uris
from effbench.tracking import names
from effbench.tracking.entities import dataset_inputs, is_param_name, metric_entities, point_batches, run_name
from effbench.tracking.failures import speaking_plainly
from effbench.tracking.location import sqlite_path, why_unwritable
from effbench.tracking.opening import open_database
from effbench.tracking.page import runs_path, share_view
from effbench.tracking.parent import Parent
from effbench.tracking.relocation import has_files
from effbench.tracking.run_requests import log_files, log_values, milliseconds
from effbench.tracking.source import git_tags, source_tags
from effbench.tracking.tracker import CurvePoint, RunRecord, RunStatus, TrackingError

if TYPE_CHECKING:
    from effbench.tracking.models import ServedNetwork


@dataclass
class _Open:
    """A run that is begun and not ended, and what is logged of it: a request that failed may be made once more."""

    run_id: str
    tags: dict[str, str] = field(default_factory=dict)
    has_params: bool = False
    has_dataset: bool = False


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
        self._parent = Parent(self._client, self._experiment_id, owner or Owner.here(), clock)
        self._source, self._clock = {**source_tags(), **git_tags()}, clock
        self._run_ids: dict[str, str] = {}
        self._open: dict[str, _Open] = {}
        self._logged: dict[str, Mapping[str, float]] = {}
        self._without_files: set[str] = set()

    @property
    def parent_id(self) -> str:
        """The id of the sweep's parent run; "" before the sweep is opened."""
        return self._parent.run_id

    def open_sweep(
        self,
        sweep_id: str,
        *,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        began: float | None = None,
    ) -> None:
        """Continue the parent of that sweep, or begin one; `began`: when its work did, in seconds since 1970."""
        own = {**self._source, **_left_out(params), **tags}
        with self._speaking_plainly():
            for run in self._parent.open(sweep_id, name=name, params=params, tags=own, began=began):
                key = run.data.tags[names.RUN_KEY]
                self._run_ids[key], self._logged[key] = run.info.run_id, run.data.metrics
                if sqlite_path(self._uri) is not None and not has_files(run.info.artifact_uri, run.data.tags):
                    self._without_files.add(key)

    def finished_keys(self) -> frozenset[str]:
        """Return the keys of the runs that the sweep has as FINISHED."""
        return frozenset(self._run_ids)

    def keys_without_files(self) -> frozenset[str]:
        """Return the keys of finished runs whose files are gone from where they were kept."""
        return frozenset(self._without_files)

    def log_files(self, key: str, files: Mapping[str, bytes]) -> None:
        """Keep files of a finished run, once more where they are there."""
        with self._speaking_plainly():
            log_files(self._client, self._run_ids[key], files)
        self._without_files.discard(key)

    def begin_run(self, record: RunRecord) -> None:
        """Begin a run that goes on since `record.began`: it is RUNNING until `log_run` ends it."""
        with self._speaking_plainly():
            self._bring(record, record.tags)

    def log_points(self, key: str, points: Sequence[CurvePoint]) -> None:
        """Log points of the training curves of a run that was begun."""
        with self._speaking_plainly():
            for batch in point_batches(points):
                self._client.log_batch(self._open[key].run_id, metrics=batch)

    def log_run(self, record: RunRecord, *, status: RunStatus, reused: bool = False) -> None:
        """Log a run that ended: its values first, its end last.

        It has the times at which it was computed; where nobody knows them those of its logging, and a tag that says so.
        """
        tags = {names.FILES: json.dumps(list(record.files)), **record.tags}
        with self._speaking_plainly():
            if reused:
                tags |= self._tags_of_reused(record)
            run_id = self._bring(record, tags)
            log_files(self._client, run_id, record.files)
            self._client.set_terminated(run_id, status, milliseconds(record.ended or self._clock()))
        del self._open[record.key]
        if status == "FINISHED":
            self._run_ids[record.key] = run_id

    def keys_with_models(self) -> frozenset[str]:
        """Return the keys of the sweep's runs whose networks are logged as models."""
        from effbench.tracking.models import keys_with_models  # half a second, for which not everyone asks

        with self._speaking_plainly():
            return keys_with_models(self._client, self._experiment_id, self._parent.sweep_id)

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
            there = (self._client, self._experiment_id, self.parent_id, self._parent.sweep_id)
            return share_view(*there, params=params, metrics=metrics, order=order, with_models=with_models)

    def runs_page(self, keys: Sequence[str]) -> str | None:
        """Return the path of the page that shows finished runs; None where one of them is not logged."""
        there = [self._run_ids[key] for key in keys if key in self._run_ids]
        return runs_path(self._experiment_id, there) if there and len(there) == len(keys) else None

    def log_metrics(self, key: str, metrics: Mapping[str, float]) -> None:
        """Add metrics to a finished run; those that it has already are not logged once more."""
        logged = self._logged.get(key, {})
        new = {name: value for name, value in metrics.items() if logged.get(name) != value}
        if new:
            with self._speaking_plainly():
                self._client.log_batch(self._run_ids[key], metrics=metric_entities(new))

    def log_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """Add tags to a finished run."""
        with self._speaking_plainly():
            log_values(self._client, self._run_ids[key], tags=tags)

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
            self._parent.update(metrics, files, tags)
            self._parent.leave(status)

    def abandon_sweep(self) -> None:
        """End what this process has open, and the parent unless another one is still at it, as KILLED."""
        if not self.parent_id:
            return
        with self._speaking_plainly():
            self._parent.leave("KILLED")

    def _bring(self, record: RunRecord, tags: Mapping[str, str]) -> str:
        """Have MLflow know the values of a run that is open, which it begins where it is not yet; returns its id."""
        run = self._open.get(record.key) or self._create(record, tags)
        new = {name: value for name, value in tags.items() if run.tags.get(name) != value}
        params = {} if run.has_params else record.params
        log_values(self._client, run.run_id, params=params, metrics=record.metrics, points=record.points, tags=new)
        run.has_params = True
        run.tags |= new
        if record.dataset is not None and not run.has_dataset:
            self._client.log_inputs(run.run_id, dataset_inputs(record.dataset))
            run.has_dataset = True
        return run.run_id

    def _create(self, record: RunRecord, tags: Mapping[str, str]) -> _Open:
        own = {
            names.PARENT: self.parent_id,
            names.SWEEP: self._parent.sweep_id,
            names.RUN_KEY: record.key,
            names.OWNER: str(self._parent.owner),
            **self._source,
            **_left_out(record.params),
        }
        start = milliseconds(self._clock() if record.began is None else record.began)
        run = self._client.create_run(self._experiment_id, start, {**own, **tags}, run_name(record.name))
        self._open[record.key] = _Open(str(run.info.run_id), dict(tags))
        return self._open[record.key]

    def _tags_of_reused(self, record: RunRecord) -> dict[str, str]:
        """Return what is to be said of a run whose result was there before: where from, and when it is logged."""
        tags = {names.LOGGED: str(milliseconds(self._clock()))}
        if record.began is None or record.ended is None:
            tags[names.TIMES] = "unknown: the result was kept by a version that did not note when it was computed"
        origin = self._origin(record.key)
        return tags if origin is None else {**tags, names.REUSED: origin}

    def _origin(self, key: str) -> str | None:
        """Return the finished run of another sweep with that key that computed it, if one is logged here."""
        wanted = f"tags.`{names.RUN_KEY}` = '{key}' and attributes.status = 'FINISHED'"
        runs = self._client.search_runs([self._experiment_id], wanted, max_results=1, order_by=["start_time ASC"])
        # A run that took its result from another has that one's times, and names it.
        return str(runs[0].data.tags.get(names.REUSED, runs[0].info.run_id)) if runs else None

    def _speaking_plainly(self) -> AbstractContextManager[None]:
        """Turn whatever MLflow and its database raise into a TrackingError."""
        return speaking_plainly(self._uri)


def _left_out(params: Mapping[str, Any]) -> dict[str, str]:
    """Return the tag that names the params of which MLflow takes not even the name; nothing where there are none."""
    odd = [name for name in params if not is_param_name(name)]
    return {names.ONLY_IN_CONFIG: ", ".join(odd)[:5000]} if odd else {}
