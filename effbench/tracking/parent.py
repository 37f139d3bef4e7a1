"""The parent run of a sweep: begun once, continued by whoever goes on with the sweep, ended by the last one alive.

It may itself be a child: of the run that was active in the program that called for the sweep. What tells it from the
runs of the sweep is that it has no run key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from mlflow.entities import Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from effbench.checks.owner import Heartbeat, Owner, beat
from effbench.tracking import names
from effbench.tracking.entities import metric_entities, no_longer, run_name
from effbench.tracking.owner import living, tag_of
from effbench.tracking.run_requests import log_files, log_values, milliseconds, search
from effbench.tracking.source import active_run_of
from effbench.tracking.tracker import RunStatus


class Parent:
    """A sweep's parent run in MLflow; its methods raise what MLflow raises."""

    def __init__(self, client: MlflowClient, experiment_id: str, owner: Owner, clock: Callable[[], float]) -> None:
        """owner: as whom to write; clock: seconds since 1970."""
        self._client, self._experiment_id, self.owner, self._clock = client, experiment_id, owner, clock
        self._heartbeat: Heartbeat | None = None
        self.sweep_id = ""
        self.run_id = ""

    def open(
        self, sweep_id: str, *, name: str, params: Mapping[str, Any], tags: Mapping[str, str], began: float | None
    ) -> list[Run]:
        """Continue the parent of that sweep, or begin one; return its finished runs. What was left open is ended."""
        self.sweep_id = sweep_id
        logged = self._search()
        parents = [run for run in logged if is_parent(run)]
        if parents:
            finished = self._continue(min(parents, key=_first), logged, params)
        else:
            finished = self._begin(name, params, {names.SWEEP: sweep_id, **tags}, began)
        self._heartbeat = Heartbeat(self.beat)
        return finished

    def _begin(self, name: str, params: Mapping[str, Any], tags: Mapping[str, str], began: float | None) -> list[Run]:
        now = self._clock()
        outer = active_run_of(self._client)
        mark = {tag_of(self.owner): beat(self.owner, now)}
        nested = {} if outer is None else {names.PARENT: outer}
        start = milliseconds(now if began is None else min(began, now))
        run = self._client.create_run(self._experiment_id, start, {**tags, **mark, **nested}, run_name(name))
        # Where two commands begin one sweep at once, both find both parents, and take the same: the one that was first
        # said to be open. Whoever does not find the other says so before it.
        opened = {names.OPENED: str(milliseconds(self._clock()))}
        log_values(self._client, run.info.run_id, params=params, tags=opened)
        logged = self._search()
        first = min((other for other in logged if is_parent(other)), key=_first)
        if first.info.run_id != run.info.run_id:
            self._client.delete_run(run.info.run_id)
            return self._continue(first, logged, params)
        self.run_id = run.info.run_id
        return []

    def _continue(self, parent: Run, logged: list[Run], params: Mapping[str, Any]) -> list[Run]:
        self.run_id = parent.info.run_id
        self.beat()
        self._client.update_run(self.run_id, status="RUNNING")
        there = parent.data.params  # all of them, unless whoever began it was killed at once
        log_values(self._client, self.run_id, params={key: text for key, text in params.items() if key not in there})
        alive = living(parent.data.tags, self._clock()) - {self.owner}
        heard = _last_heard(parent)
        for tag in set(_owner_tags(parent)) - {tag_of(owner) for owner in (*alive, self.owner)}:
            self._client.delete_tag(self.run_id, tag)
        own = [run for run in logged if run.data.tags.get(names.PARENT) == self.run_id and not is_parent(run)]
        for run in own:
            owner = _owner_of(run)
            if run.info.status == "RUNNING" and owner not in alive:  # whoever was logging it was killed
                self._end(run, self._last_sign(run, None if owner is None else heard.get(tag_of(owner))))
        return [run for run in own if run.info.status == "FINISHED"]

    def beat(self) -> None:
        """Say that this process is alive."""
        self._client.set_tag(self.run_id, tag_of(self.owner), beat(self.owner, self._clock()))

    def update(self, metrics: Mapping[str, float], files: Mapping[str, bytes], tags: Mapping[str, str]) -> None:
        """Log what came out. MLflow deletes no metric: one that is no more becomes NaN."""
        gone = self._client.get_run(self.run_id).data.metrics.keys() - metrics.keys()
        entries = [*metric_entities(metrics), *no_longer(gone)]
        run_tags = [RunTag(key, value) for key, value in tags.items()]
        self._client.log_batch(self.run_id, metrics=entries, tags=run_tags)
        log_files(self._client, self.run_id, files)

    def leave(self, status: RunStatus) -> None:
        """Take this owner's mark from the parent, and end it where nobody else's is left.

        Runs that this process has still open, when it is interrupted or lost its server in the middle, were KILLED.
        """
        if self._heartbeat is not None:
            self._heartbeat.stop()
        for run in self._search("attributes.status = 'RUNNING'"):
            if run.data.tags.get(names.PARENT) == self.run_id and _owner_of(run) == self.owner:
                self._end(run)
        with suppress(MlflowException):  # it is gone already
            self._client.delete_tag(self.run_id, tag_of(self.owner))
        if not living(self._client.get_run(self.run_id).data.tags, self._clock()) - {self.owner}:
            self._client.set_terminated(self.run_id, status)

    def _last_sign(self, run: Run, heard: float | None) -> int | None:
        """Return when a run that was killed still went on, as far as is known: its owner's beat, its last epoch."""
        curves = [name for name in run.data.metrics if name.startswith(names.CURVE)]
        points = [point for name in curves for point in self._client.get_metric_history(run.info.run_id, name)]
        signs = [int(point.timestamp) for point in points] + ([] if heard is None else [round(heard * 1000)])
        return max([int(run.info.start_time or 0), *signs]) if signs else None

    def _end(self, run: Run, end: int | None = None) -> None:
        """End a run as KILLED: now, or when it went on for the last time."""
        self._client.set_terminated(run.info.run_id, "KILLED", end)

    def _search(self, condition: str = "") -> list[Run]:
        wanted = f"tags.`{names.SWEEP}` = '{self.sweep_id}'"
        return search(self._client, self._experiment_id, f"{wanted} and {condition}" if condition else wanted)


def is_parent(run: Run, /) -> bool:
    """Whether a run of a sweep is the sweep's parent, which may have a parent of its own."""
    return names.RUN_KEY not in run.data.tags


def _first(run: Run) -> tuple[bool, int, str]:
    """Order parents by when they were open; any process orders them alike. Those that don't say it come last."""
    opened = run.data.tags.get(names.OPENED)
    return opened is None, int(run.info.start_time if opened is None else opened), str(run.info.run_id)


def _owner_of(run: Run) -> Owner | None:
    return Owner.of_text(run.data.tags.get(names.OWNER, ""))


def _owner_tags(parent: Run) -> Iterator[str]:
    return (name for name in parent.data.tags if name.startswith(f"{names.OWNER}/"))


def _last_heard(parent: Run) -> dict[str, float]:
    """Return when each owner was last heard of, in seconds since 1970, by its tag's name."""
    texts = {tag: parent.data.tags[tag].partition(" ")[0] for tag in _owner_tags(parent)}
    return {tag: float(text) for tag, text in texts.items() if text.isdecimal()}
