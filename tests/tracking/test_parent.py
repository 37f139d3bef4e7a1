"""A sweep's parent run: one, whoever goes on with the sweep, ended by the last one alive."""

import math
import os
import time

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from effbench.checks.owner import Owner
from effbench.tracking import names
from effbench.tracking.database import is_finished
from effbench.tracking.owner import tag_of
from effbench.tracking.read import load_runs
from effbench.tracking.write import MlflowTracker

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*")


def test_a_sweep_is_continued_and_what_was_left_open_is_closed(uri, opened, record):
    opened(uri).log_run(record("a"), status="FINISHED")
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("effbench").experiment_id
    (parent,) = [r for r in client.search_runs([experiment]) if names.PARENT not in r.data.tags]
    tags = {names.PARENT: parent.info.run_id, names.SWEEP: "0123456789ab", names.RUN_KEY: "b"}
    left_open = client.create_run(experiment, tags=tags)
    client.delete_tag(parent.info.run_id, "mlflow.runName")
    again = opened(uri, params={"lr": 1, "later": 2})
    assert again.finished_keys() == {"a"}
    assert client.get_run(left_open.info.run_id).info.status == "KILLED"
    assert client.get_run(parent.info.run_id).info.status == "RUNNING"
    assert client.get_run(parent.info.run_id).data.params == {"lr": "1", "later": "2"}
    again.close_sweep(status="FINISHED", metrics={"n_runs": 1}, files={"table.csv": b"x"}, tags={})
    assert client.get_run(parent.info.run_id).info.status == "FINISHED"


def test_what_another_command_found_takes_the_place_of_what_was_there(uri, opened):
    answers = [
        (
            {"n_runs": 3, "saturation/size_bytes": 0.5, "saturation/macs": 0.1},
            {names.NOTE: "one", "effbench.tolerance": "0.02"},
        ),
        ({"n_runs": 3, "saturation/macs": 0.7}, {names.NOTE: "two", "effbench.tolerance": "0.5"}),
    ]
    for metrics, tags in answers:
        tracker = opened(uri)
        tracker.close_sweep(status="FINISHED", metrics=metrics, files={}, tags=tags)
    client = MlflowClient(uri)
    (parent,) = client.search_runs([client.get_experiment_by_name("effbench").experiment_id])
    assert parent.data.metrics["saturation/macs"] == 0.7
    assert math.isnan(parent.data.metrics["saturation/size_bytes"])
    assert (parent.data.tags[names.NOTE], parent.data.tags["effbench.tolerance"]) == ("two", "0.5")


def test_an_abandoned_sweep_closes_its_own_runs_only(uri, opened):
    other = opened(uri, sweep_id="other")
    tracker = opened(uri)
    client = MlflowClient(uri)
    tracker.abandon_sweep()
    experiment = client.get_experiment_by_name("effbench").experiment_id
    statuses = {run.data.tags[names.SWEEP]: run.info.status for run in client.search_runs([experiment])}
    assert statuses == {"other": "RUNNING", "0123456789ab": "KILLED"}
    other.abandon_sweep()
    MlflowTracker(uri, "effbench").abandon_sweep()  # none was opened: nothing to do


def runs_of(uri):
    client = MlflowClient(uri)
    return client.search_runs([client.get_experiment_by_name("effbench").experiment_id])


def status_of(uri, run_id):
    return MlflowClient(uri).get_run(run_id).info.status


class Clock:
    now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def writers(uri):
    """Return what opens a sweep as somebody else: writers(owner) -> its tracker; writers.clock is everybody's."""
    opened = []

    def make(owner, sweep_id="0123456789ab"):
        tracker = MlflowTracker(uri, "effbench", owner=owner, clock=make.clock)
        tracker.open_sweep(sweep_id, name="a sweep", params={}, tags={})
        opened.append(tracker)
        return tracker

    make.clock = Clock()
    yield make
    for tracker in opened:
        tracker._parent._heartbeat.stop()


ELSEWHERE, THIRD = Owner("elsewhere", 7, "then"), Owner("third", 8, "then")
GONE = Owner(Owner.here().host, Owner.here().process, "another start")


def begin_child(uri, parent, owner, key):
    """Begin a run as a writer that is about to end it would."""
    tags = {names.PARENT: parent, names.SWEEP: "0123456789ab", names.RUN_KEY: key, names.OWNER: str(owner)}
    experiment = MlflowClient(uri).get_experiment_by_name("effbench").experiment_id
    return MlflowClient(uri).create_run(experiment, tags=tags).info.run_id


def test_what_another_machine_has_open_is_left_alone_until_it_was_silent_for_five_minutes(uri, writers):
    first = writers(ELSEWHERE)
    child = begin_child(uri, first.parent_id, ELSEWHERE, "a")
    second = writers(None)
    assert second.parent_id == first.parent_id
    assert status_of(uri, child) == "RUNNING"
    writers.clock.now += 299
    first._parent.beat()
    writers.clock.now += 299
    second.abandon_sweep()
    assert (status_of(uri, child), status_of(uri, first.parent_id)) == ("RUNNING", "RUNNING")
    writers.clock.now += 2
    writers(None)
    assert status_of(uri, child) == "KILLED"


def test_what_a_dead_process_of_this_machine_had_open_is_ended_at_once(uri, writers):
    parent = writers(GONE).parent_id
    child = begin_child(uri, parent, GONE, "a")
    tracker = writers(None)
    assert status_of(uri, child) == "KILLED"
    assert [tag for tag in MlflowClient(uri).get_run(parent).data.tags if tag.startswith("effbench.owner/")] == [
        tag_of(tracker._parent.owner)
    ]


@pytest.mark.parametrize("end", ["close", "abandon"])
def test_the_last_one_alive_ends_the_parent(uri, writers, end):
    first, second = writers(ELSEWHERE), writers(THIRD)

    def leave(tracker):
        if end == "close":
            tracker.close_sweep(status="FINISHED", metrics={}, files={}, tags={})
        else:
            tracker.abandon_sweep()

    leave(first)
    assert status_of(uri, second.parent_id) == "RUNNING"
    leave(second)
    assert status_of(uri, second.parent_id) == ("FINISHED" if end == "close" else "KILLED")
    assert not [
        tag for tag in MlflowClient(uri).get_run(second.parent_id).data.tags if tag.startswith("effbench.owner")
    ]


def test_an_abandoned_sweep_ends_its_own_children_only(uri, writers):
    first, second = writers(ELSEWHERE), writers(THIRD)
    own, others = (begin_child(uri, first.parent_id, owner, "a") for owner in (ELSEWHERE, THIRD))
    first.abandon_sweep()
    assert (status_of(uri, own), status_of(uri, others)) == ("KILLED", "RUNNING")
    second.abandon_sweep()


def test_two_that_begin_one_sweep_at_once_have_one_parent(uri, writers, monkeypatch):
    first = MlflowTracker(uri, "effbench", owner=ELSEWHERE, clock=writers.clock)
    create = MlflowClient.create_run

    def create_after_another(client, *arguments, **options):
        monkeypatch.setattr(MlflowClient, "create_run", create)
        writers(THIRD)
        writers.clock.now += 0.002  # beginnings are noted in milliseconds
        return create(client, *arguments, **options)

    monkeypatch.setattr(MlflowClient, "create_run", create_after_another)
    first.open_sweep("0123456789ab", name="a sweep", params={}, tags={})
    (parent,) = runs_of(uri)
    assert first.parent_id == parent.info.run_id
    first._parent._heartbeat.stop()


@pytest.mark.parametrize("deleted", ["parent", "child"])
def test_runs_that_were_deleted_are_logged_anew(uri, opened, record, deleted):
    tracker = opened(uri)
    tracker.log_run(record("a"), status="FINISHED")
    tracker.close_sweep(status="FINISHED", metrics={}, files={}, tags={})
    MlflowClient(uri).delete_run(tracker.parent_id if deleted == "parent" else tracker._run_ids["a"])
    again = opened(uri)
    assert again.finished_keys() == frozenset()
    assert (again.parent_id == tracker.parent_id) == (deleted == "child")
    again.log_run(record("a"), status="FINISHED")
    again.close_sweep(status="FINISHED", metrics={}, files={}, tags={})
    assert len(load_runs()) == 1


class TestTimes:
    def test_a_parent_began_when_its_work_did(self, uri):
        tracker = MlflowTracker(uri, "effbench", clock=lambda: 1010.0)
        tracker.open_sweep("0123456789ab", name="a sweep", params={}, tags={}, began=1000.0)
        (parent,) = runs_of(uri)
        assert (parent.info.start_time, parent.data.tags[names.OPENED]) == (1_000_000, "1010000")
        tracker.abandon_sweep()

    def test_what_was_killed_ended_when_its_process_was_last_heard_of(self, uri, writers):
        parent = writers(GONE).parent_id
        child = begin_child(uri, parent, GONE, "a")
        begun = MlflowClient(uri).get_run(child).info.start_time
        heard = Clock.now
        writers.clock.now = begun / 1000 + 3600
        writers(None)
        ended = MlflowClient(uri).get_run(child).info.end_time
        assert ended == max(begun, heard * 1000)

    def test_its_last_epoch_is_a_later_sign_of_life(self, uri, writers):
        parent = writers(GONE).parent_id
        client, child = MlflowClient(uri), begin_child(uri, parent, GONE, "a")
        begun = client.get_run(child).info.start_time
        for step in (1, 2):
            client.log_metric(child, "curve/train/loss", 0.5, timestamp=begun + 1000 * step, step=step)
        writers(None)
        assert client.get_run(child).info.end_time == begun + 2000

    def test_an_hour_later_it_has_not_run_for_an_hour(self, uri, writers):
        writers.clock.now = time.time()
        parent = writers(GONE).parent_id
        child = begin_child(uri, parent, GONE, "a")
        writers.clock.now += 3600
        writers(None)
        info = MlflowClient(uri).get_run(child).info
        assert (info.status, 0 <= info.end_time - info.start_time < 60_000) == ("KILLED", True)


@pytest.fixture
def active(uri, monkeypatch):
    """Return what begins a run that is active, as a user's script does; it is ended afterwards."""
    before = mlflow.get_tracking_uri()
    monkeypatch.setattr("mlflow.tracking.fluent._active_experiment_id", None)
    mlflow.set_tracking_uri(uri)
    yield mlflow.start_run
    while mlflow.active_run() is not None:
        mlflow.end_run()
    mlflow.set_tracking_uri(before)


VARIABLES = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID")


class TestNested:
    @pytest.mark.extended
    def test_a_sweep_within_an_active_run_is_its_child_and_leaves_it_as_it_is(self, uri, opened, record, active):
        run = active()
        mlflow.log_param("own", 1)
        before = MlflowClient(uri).get_run(run.info.run_id)
        tracker = opened(uri)
        tracker.log_run(record("a"), status="FINISHED")
        tracker.close_sweep(status="FINISHED", metrics={"n_runs": 1}, files={"x": b"1"}, tags={})
        after = MlflowClient(uri).get_run(run.info.run_id)
        assert (after.data.params, after.data.metrics, after.data.tags) == (
            *(before.data.params, before.data.metrics, before.data.tags),
        )
        assert after.info.status == "RUNNING" and mlflow.active_run().info.run_id == run.info.run_id
        parent = MlflowClient(uri).get_run(tracker.parent_id)
        assert parent.data.tags[names.PARENT] == run.info.run_id
        (child,) = [r for r in runs_of(uri) if names.RUN_KEY in r.data.tags]
        assert child.data.tags[names.PARENT] == parent.info.run_id
        assert list(load_runs()["run_key"]) == ["a"]

    @pytest.mark.extended
    @pytest.mark.parametrize("nested_first", [True, False])
    def test_the_same_sweep_is_continued_within_a_run_and_outside_of_it(
        self, uri, here, opened, record, active, nested_first
    ):
        parents = []
        for is_nested in (nested_first, not nested_first):
            if is_nested:
                active()
            tracker = opened(uri)
            tracker.log_run(record("ab"[len(parents)]), status="FINISHED")
            tracker.close_sweep(status="FINISHED", metrics={}, files={}, tags={})
            parents.append(tracker.parent_id)
            if is_nested:
                mlflow.end_run()
        assert parents[0] == parents[1]
        assert opened(uri).finished_keys() == {"a", "b"}
        tags = MlflowClient(uri).get_run(parents[0]).data.tags
        assert (names.PARENT in tags) == nested_first  # it stays where it began
        tracker = opened(uri)
        tracker.close_sweep(status="FINISHED", metrics={}, files={}, tags={})
        assert is_finished(here / "mlflow.db", "effbench", "0123456789ab", ["a", "b"])

    def test_two_sweeps_within_one_run_are_two_children_of_it(self, uri, opened, active):
        run = active()
        trackers = [opened(uri, sweep_id=name) for name in ("first", "second")]
        tags = [MlflowClient(uri).get_run(tracker.parent_id).data.tags for tracker in trackers]
        assert [own[names.PARENT] for own in tags] == [run.info.run_id] * 2
        assert len({tracker.parent_id for tracker in trackers}) == 2

    @pytest.mark.extended
    @pytest.mark.parametrize("is_active", [True, False])
    def test_exported_variables_neither_decide_nor_are_overwritten(
        self, uri, opened, record, monkeypatch, is_active, active
    ):
        client = MlflowClient(uri)
        other = client.create_experiment("other")
        exported = client.create_run(other, run_name="exported")
        values = dict(zip(VARIABLES, (exported.info.run_id, "other", other), strict=True))
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        if is_active:
            active(run_id=exported.info.run_id)
        before = {name: os.environ.get(name) for name in VARIABLES}
        tracker = opened(uri)
        for key in "ab":
            tracker.log_run(record(key), status="FINISHED")
        tracker.close_sweep(status="FINISHED", metrics={"n_runs": 2}, files={}, tags={})
        assert {name: os.environ.get(name) for name in VARIABLES} == before
        after = client.get_run(exported.info.run_id)
        assert (after.info.status, after.info.run_name, after.data.metrics) == ("RUNNING", "exported", {})
        assert len(load_runs("effbench")) == 2
        assert len(client.search_runs([other])) == 1
