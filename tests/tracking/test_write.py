"""Runs written to MLflow: whole or not at all, each once, in plain words where that fails."""

import dataclasses
import json
import math
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from effbench.checks.owner import Owner
from effbench.tracking import names
from effbench.tracking.location import sqlite_path
from effbench.tracking.owner import tag_of
from effbench.tracking.read import load_runs
from effbench.tracking.server import Server
from effbench.tracking.tracker import CurvePoint, Dataset, TrackingError
from effbench.tracking.write import MlflowTracker

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*")


OPEN = """
import sys
from effbench.tracking.write import MlflowTracker
MlflowTracker(sys.argv[1], "effbench")
"""


@pytest.mark.slow
@pytest.mark.parametrize("at_bytes", [1, 100_000, 500_000])
def test_killed_while_the_database_is_made_it_is_made_anew(here, at_bytes, opened, record):
    uri, part = f"sqlite:///{here / 'mlflow.db'}", here / "mlflow.db.part"
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", OPEN, uri], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size >= at_bytes):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert not (here / "mlflow.db").exists() and part.exists()
    tracker = opened(uri)
    tracker.log_run(record("a"), status="FINISHED")
    assert not part.exists()
    assert list(load_runs(tracking_uri=uri)["run_key"]) == ["a"]


def test_an_empty_file_becomes_a_database(here, opened):
    (here / "mlflow.db").touch()
    opened(f"sqlite:///{here / 'mlflow.db'}")
    assert load_runs(tracking_uri=f"sqlite:///{here / 'mlflow.db'}").empty


def test_options_of_a_database_are_not_part_of_its_name(here, uri, opened, record):
    tracker = opened(f"{uri}?timeout=3")
    tracker.log_run(record("a"), status="FINISHED")
    assert len(load_runs(tracking_uri=f"{uri}?timeout=3")) == 1
    assert sqlite_path(f"{uri}?timeout=3") == here / "mlflow.db"


def test_a_file_that_is_no_database_is_said_so(here):
    (here / "mlflow.db").write_bytes(b"no database" * 500)
    with pytest.raises(ValueError, match=r"mlflow\.db: can't be read .*not a database"):
        load_runs()
    with pytest.raises(TrackingError, match=r"mlflow\.db: can't be used .*not a database.*; move that file away"):
        MlflowTracker(f"sqlite:///{here / 'mlflow.db'}", "effbench")


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


def test_a_run_that_was_lost_in_the_middle_is_closed_at_the_end(uri, opened, record, monkeypatch):
    tracker = opened(uri)
    client = MlflowClient(uri)

    def lost(*_, **__):
        raise MlflowException("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifacts", lost)
        with pytest.raises(TrackingError, match="no answer"):
            tracker.log_run(record("a"), status="FINISHED")
    tracker.log_run(record("a"), status="FINISHED")
    tracker.close_sweep(status="FINISHED", metrics={}, files={}, tags={})
    runs = client.search_runs([client.get_experiment_by_name("effbench").experiment_id])
    assert sorted(run.info.status for run in runs) == ["FINISHED", "FINISHED", "KILLED"]


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


def test_metrics_that_are_there_already_are_not_logged_again(uri, monkeypatch, opened, record):
    tracker = opened(uri)
    tracker.log_run(record("a"), status="FINISHED")
    tracker.log_metrics("a", {"latency_ms/eager": 0.5})
    again = opened(uri)
    calls = []
    log_batch = MlflowClient.log_batch
    monkeypatch.setattr(MlflowClient, "log_batch", lambda *a, **k: calls.append(k) or log_batch(*a, **k))
    again.log_metrics("a", {"latency_ms/eager": 0.5})
    assert calls == []
    again.log_metrics("a", {"latency_ms/eager": 0.25, "speedup/eager": 1.0})
    ((call),) = calls
    assert {metric.key for metric in call["metrics"] if isinstance(metric, Metric)} == {
        "latency_ms/eager",
        "speedup/eager",
    }


def test_a_reused_result_names_the_run_that_computed_it(uri, opened, record):
    first = opened(uri, sweep_id="first")
    first.log_run(record("a"), status="FINISHED")
    second = opened(uri, sweep_id="second")
    second.log_run(record("a"), status="FINISHED", reused=True)
    second.log_run(record("b"), status="FINISHED", reused=True)  # nobody logged it: nothing to name
    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name("effbench").experiment_id])
    tagged = {
        r.data.tags[names.RUN_KEY]: r
        for r in runs
        if r.data.tags[names.SWEEP] == "second"
        if names.RUN_KEY in r.data.tags
    }
    original = next(r for r in runs if r.data.tags.get(names.RUN_KEY) == "a" and r.data.tags[names.SWEEP] == "first")
    assert tagged["a"].data.tags[names.REUSED] == original.info.run_id
    assert names.REUSED not in tagged["b"].data.tags


def test_many_and_long_params_are_logged(uri, opened, record):
    params = {f"p{number}": "x" * 700 for number in range(130)}
    tracker = opened(uri, params=params)
    tracker.log_run(record("a", params=params), status="FINISHED")
    (row,) = load_runs().to_dict("records")
    assert sum(name.startswith("p") and name[1:].isdigit() for name in row) == 130
    assert len(row["p0"]) == 500


def test_a_run_is_read_as_it_was_written(uri, here, opened, record):
    tracker = opened(uri)
    data = Dataset(name="toy", digest="d1", source="nowhere", sizes={"train": 3, "val": 1, "test": 1})
    tracker.log_run(record("a", dataset=data), status="FINISHED")
    frame = load_runs()
    (row,) = frame.to_dict("records")
    assert (row["run_key"], row["point"], row["sweep"]) == ("a", "point a", "0123456789ab")
    assert row["reference"] is True
    assert (row["prune"], row["seed"], row["pooling"]) == (0.5, 0, "1-3")
    assert (row["accuracy"], row["size_bytes"]) == (0.0, 12)
    assert "latency_ms/eager" not in frame  # not a number is not logged
    assert frame["prune"].dtype == np.float64
    assert frame.attrs["axes"] == ["prune", "pooling"]
    run = MlflowClient(uri).get_run(row["run_id"])
    assert run.info.status == "FINISHED"
    (entry,) = run.inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("toy", "d1")
    assert json.loads(entry.dataset.profile) == {"n_train": 3, "n_val": 1, "n_test": 1}
    assert (here / "mlruns" / "").is_dir()
    assert next((here / "mlruns").glob("**/model.effb")).read_bytes() == b"\x00\x01"


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
        tracker._heartbeat.stop()


ELSEWHERE, THIRD = Owner("elsewhere", 7, "then"), Owner("third", 8, "then")
GONE = Owner(Owner.here().host, Owner.here().process, "another start")


def begin_child(uri, parent, owner, key):
    """Begin a run as a writer that is about to end it would."""
    tags = {names.PARENT: parent, names.SWEEP: "0123456789ab", names.RUN_KEY: key, names.OWNER: str(owner)}
    experiment = MlflowClient(uri).get_experiment_by_name("effbench").experiment_id
    return MlflowClient(uri).create_run(experiment, tags=tags).info.run_id


def test_what_another_machine_has_open_is_left_alone_until_it_was_silent_for_five_minutes(uri, writers):
    first = writers(ELSEWHERE)
    child = begin_child(uri, first._parent, ELSEWHERE, "a")
    second = writers(None)
    assert second._parent == first._parent
    assert status_of(uri, child) == "RUNNING"
    writers.clock.now += 299
    first.beat()
    writers.clock.now += 299
    second.abandon_sweep()
    assert (status_of(uri, child), status_of(uri, first._parent)) == ("RUNNING", "RUNNING")
    writers.clock.now += 2
    writers(None)
    assert status_of(uri, child) == "KILLED"


def test_what_a_dead_process_of_this_machine_had_open_is_ended_at_once(uri, writers):
    parent = writers(GONE)._parent
    child = begin_child(uri, parent, GONE, "a")
    tracker = writers(None)
    assert status_of(uri, child) == "KILLED"
    assert [tag for tag in MlflowClient(uri).get_run(parent).data.tags if tag.startswith("effbench.owner/")] == [
        tag_of(tracker._owner)
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
    assert status_of(uri, second._parent) == "RUNNING"
    leave(second)
    assert status_of(uri, second._parent) == ("FINISHED" if end == "close" else "KILLED")
    assert not [tag for tag in MlflowClient(uri).get_run(second._parent).data.tags if tag.startswith("effbench.owner")]


def test_an_abandoned_sweep_ends_its_own_children_only(uri, writers):
    first, second = writers(ELSEWHERE), writers(THIRD)
    own, others = (begin_child(uri, first._parent, owner, "a") for owner in (ELSEWHERE, THIRD))
    first.abandon_sweep()
    assert (status_of(uri, own), status_of(uri, others)) == ("KILLED", "RUNNING")
    second.abandon_sweep()


def test_two_that_begin_one_sweep_at_once_have_one_parent(uri, writers, monkeypatch):
    first = MlflowTracker(uri, "effbench", owner=ELSEWHERE, clock=writers.clock)
    create = MlflowClient.create_run

    def create_after_another(client, *arguments, **options):
        monkeypatch.setattr(MlflowClient, "create_run", create)
        writers(THIRD)
        time.sleep(0.002)  # MLflow notes beginnings in milliseconds
        return create(client, *arguments, **options)

    monkeypatch.setattr(MlflowClient, "create_run", create_after_another)
    first.open_sweep("0123456789ab", name="a sweep", params={}, tags={})
    (parent,) = runs_of(uri)
    assert first._parent == parent.info.run_id
    first._heartbeat.stop()


@pytest.mark.parametrize("deleted", ["parent", "child"])
def test_runs_that_were_deleted_are_logged_anew(uri, opened, record, deleted):
    tracker = opened(uri)
    tracker.log_run(record("a"), status="FINISHED")
    tracker.close_sweep(status="FINISHED", metrics={}, files={}, tags={})
    MlflowClient(uri).delete_run(tracker._parent if deleted == "parent" else tracker._run_ids["a"])
    again = opened(uri)
    assert again.finished_keys() == frozenset()
    assert (again._parent == tracker._parent) == (deleted == "child")
    again.log_run(record("a"), status="FINISHED")
    again.close_sweep(status="FINISHED", metrics={}, files={}, tags={})
    assert len(load_runs()) == 1


@pytest.mark.parametrize("gone", ["mlruns", "a file"])
def test_files_that_are_gone_are_known_and_kept_once_more(uri, here, opened, record, gone):
    tracker = opened(uri)
    for key in "ab":
        tracker.log_run(record(key, files={"model.effb": b"1", "x.csv": b"2"}), status="FINISHED")
    assert opened(uri).keys_without_files() == frozenset()
    (victim,) = here.glob(f"mlruns/{tracker._run_ids['a']}/artifacts/x.csv")
    shutil.rmtree(here / "mlruns") if gone == "mlruns" else victim.unlink()
    again = opened(uri)
    assert again.keys_without_files() == ({"a", "b"} if gone == "mlruns" else {"a"})
    again.log_files("a", {"model.effb": b"1", "x.csv": b"2"})
    assert victim.read_bytes() == b"2"
    assert "a" not in again.keys_without_files()


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_files_have_the_rights_that_the_umask_gives(uri, here, opened, record, umask):
    before = os.umask(umask)
    try:
        tracker = opened(uri)
        tracker.log_run(record("a"), status="FINISHED")
        tracker.close_sweep(status="FINISHED", metrics={}, files={"x": b"1"}, tags={})
    finally:
        os.umask(before)
    made = list((here / "mlruns").rglob("*"))
    assert {path.stat().st_mode & 0o777 for path in made if path.is_file()} == {0o666 & ~umask}
    assert {path.stat().st_mode & 0o777 for path in made if path.is_dir()} == {0o777 & ~umask}


def test_no_password_is_in_what_goes_wrong(monkeypatch):
    with pytest.raises(TrackingError) as caught:
        MlflowTracker("http://me:hunter2-hunter2@127.0.0.1:9", "effbench")
    assert str(caught.value).startswith("tracking.uri=http://me:***@127.0.0.1:9: no server answers")


def curve(client, run_id, name="curve/train/loss"):
    return [(metric.step, metric.value) for metric in client.get_metric_history(run_id, name)]


def points(*steps, name="curve/train/loss", value=0.5):
    return [CurvePoint(name=name, value=value, step=step, time=1e9 + step) for step in steps]


def test_curves_are_there_while_the_run_goes_on_and_its_end_completes_them(uri, opened, record):
    tracker, client = opened(uri), MlflowClient(uri)
    tracker.begin_run(record("a", metrics={}, files={}))
    tracker.log_points("a", points(1, 2))
    (run_id, _, status, _) = load_runs(tracking_uri=uri).attrs["unfinished"][0]
    assert status == "RUNNING"
    assert curve(client, run_id) == [(1, 0.5), (2, 0.5)]
    whole = dataclasses.replace(record("a"), points=points(3), tags={**record("a").tags, "effbench.later": "x"})
    tracker.log_run(whole, status="FINISHED")
    frame = load_runs(tracking_uri=uri)
    assert list(frame["run_id"]) == [run_id]
    assert not [name for name in frame.columns if name.startswith("curve")]
    assert not [name for name in Server(uri).runs("effbench", None).metrics.names if name.startswith("curve")]
    assert frame["accuracy"].tolist() == [0.0]
    run = client.get_run(run_id)
    assert curve(client, run_id) == [(1, 0.5), (2, 0.5), (3, 0.5)]
    assert run.data.tags["effbench.later"] == "x" and run.data.params["prune"] == "0.5"
    tracker.close_sweep(status="FINISHED", metrics={}, files={}, tags={})
    assert client.get_run(run_id).info.status == "FINISHED"


def test_a_run_that_goes_on_is_closed_with_its_sweep(uri, opened, record):
    tracker, client = opened(uri), MlflowClient(uri)
    tracker.begin_run(record("a"))
    tracker.abandon_sweep()
    assert [status for _, _, status, _ in load_runs(tracking_uri=uri).attrs["unfinished"]] == ["KILLED"]
    again = opened(uri)
    again.log_run(record("a", points=points(1)), status="FINISHED")
    assert curve(client, load_runs(tracking_uri=uri)["run_id"][0]) == [(1, 0.5)]


def test_many_points_and_odd_ones(uri, opened, record):
    tracker, client = opened(uri), MlflowClient(uri)
    odd = [*points(7, value=math.nan), *points(8, value=math.inf), *points(9, name="curve/my step+1/loss")]
    tracker.log_run(record("a", points=[*points(*range(1, 1203)), *odd]), status="FAILED")
    (run_id, _, _, _) = load_runs(tracking_uri=uri).attrs["unfinished"][0]
    assert [step for step, _ in curve(client, run_id)] == list(range(1, 1203))
    assert all(math.isfinite(value) for _, value in curve(client, run_id))
    assert curve(client, run_id, "curve/my step_1/loss") == [(9, 0.5)]
