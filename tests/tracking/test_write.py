"""Runs written to MLflow: whole or not at all, each once, in plain words where that fails."""

import dataclasses
import json
import math
import os
import shutil
import time

import numpy as np
import pytest
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from effbench.tracking import names
from effbench.tracking.read import load_runs
from effbench.tracking.server import Server
from effbench.tracking.tracker import CurvePoint, Dataset, TrackingError
from effbench.tracking.write import MlflowTracker

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*")


def test_a_run_that_was_lost_in_the_middle_is_gone_on_with_where_its_server_is_back(uri, opened, record, monkeypatch):
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
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    assert load_runs()["accuracy"].tolist() == [0.0]


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
    params = {f"p{number}": "x" * 7000 for number in range(130)} | {"a+b": 1, "q": "x" * 6000}
    tracker = opened(uri, params=params)
    tracker.log_run(record("a", params=params), status="FINISHED")
    (row,) = load_runs().to_dict("records")
    assert sum(name.startswith("p") and name[1:].isdigit() for name in row) == 130
    assert row["p0"] == "too long for a param (7000 characters): see config.yaml of this run"
    assert row["q"] == "x" * 6000 and "a+b" not in row
    assert MlflowClient(uri).get_run(row["run_id"]).data.tags[names.ONLY_IN_CONFIG] == "a+b"


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
    inputs = {entry.tags[0].value: entry.dataset for entry in run.inputs.dataset_inputs}
    assert {context: json.loads(dataset.profile)["num_rows"] for context, dataset in inputs.items()} == {
        "train": 3,
        "validation": 1,
        "test": 1,
    }
    assert {dataset.name for dataset in inputs.values()} == {"toy"}
    assert len({dataset.digest for dataset in inputs.values()}) == 3
    assert (here / "mlruns" / "").is_dir()
    assert next((here / "mlruns").glob("**/model.effb")).read_bytes() == b"\x00\x01"


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


@pytest.mark.matrix(fast=1)
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


@pytest.mark.extended
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
    assert not [name for name in Server(uri).runs(["effbench"], None).metrics.names if name.startswith("curve")]
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


@pytest.mark.extended
def test_many_points_and_odd_ones(uri, opened, record):
    tracker, client = opened(uri), MlflowClient(uri)
    odd = [*points(7, value=math.nan), *points(8, value=math.inf), *points(9, name="curve/my step+1/loss")]
    tracker.log_run(record("a", points=[*points(*range(1, 1203)), *odd]), status="FAILED")
    (run_id, _, _, _) = load_runs(tracking_uri=uri).attrs["unfinished"][0]
    assert [step for step, _ in curve(client, run_id)] == list(range(1, 1203))
    assert all(math.isfinite(value) for _, value in curve(client, run_id))
    assert curve(client, run_id, "curve/my step_1/loss") == [(9, 0.5)]


def times_of(uri, run_id):
    info = MlflowClient(uri).get_run(run_id).info
    return info.start_time, info.end_time


class TestTimes:
    @pytest.mark.matrix(fast=1)
    @pytest.mark.parametrize("status", ["FINISHED", "FAILED"])
    @pytest.mark.parametrize("is_begun", [True, False])
    def test_a_run_has_the_times_at_which_it_was_computed(self, uri, opened, record, status, is_begun):
        tracker, client = opened(uri), MlflowClient(uri)
        if is_begun:
            tracker.begin_run(record("a", began=1000.0, metrics={}, files={}))
            (run_id, _, running, _) = load_runs().attrs["unfinished"][0]
            assert running == "RUNNING" and client.get_run(run_id).info.start_time == 1_000_000
            assert client.get_run(run_id).data.params["prune"] == "0.5"
        tracker.log_run(record("a", began=1000.0, ended=1002.5), status=status)
        (run,) = [run for run in runs_of(uri) if names.RUN_KEY in run.data.tags]
        assert (run.info.status, *times_of(uri, run.info.run_id)) == (status, 1_000_000, 1_002_500)
        assert names.TIMES not in run.data.tags and names.LOGGED not in run.data.tags

    @pytest.mark.extended
    def test_a_reused_run_has_those_of_its_computation_and_is_the_latest_all_the_same(self, uri, opened, record):
        first = opened(uri, sweep_id="first")
        first.log_run(record("a", began=1000.0, ended=1002.5), status="FINISHED")
        first.log_run(record("b", began=1003.0, ended=1004.0), status="FINISHED")
        origins = set(first._run_ids.values())
        for sweep_id in ("second", "third"):
            tracker = opened(uri, sweep_id=sweep_id)
            for key, began in (("a", 1000.0), ("b", 1003.0)):
                metrics = {"accuracy": 0.0, "latency": float(len(sweep_id))}
                kept = record(key, began=began, ended=began + 1, metrics=metrics)
                tracker.log_run(kept, status="FINISHED", reused=True)
                assert times_of(uri, tracker._run_ids[key]) == (began * 1000, began * 1000 + 1000)
                assert MlflowClient(uri).get_run(tracker._run_ids[key]).data.tags[names.REUSED] in origins
        frame = load_runs()
        assert frame["sweep"].tolist() == ["third"] * 2 and set(frame["run_id"]) == set(tracker._run_ids.values())
        assert frame["run_key"].tolist() == ["a", "b"]

    def test_of_a_result_whose_times_nobody_noted_it_says_so(self, uri, opened, record):
        tracker = opened(uri)
        tracker.log_run(record("a"), status="FINISHED", reused=True)
        run = MlflowClient(uri).get_run(tracker._run_ids["a"])
        assert run.data.tags[names.TIMES].startswith("unknown: ")
        assert 0 <= run.info.end_time - run.info.start_time < 10_000

    def test_an_interrupted_run_is_killed_now(self, uri, opened, record):
        tracker = opened(uri)
        began = time.time() - 60
        tracker.begin_run(record("a", began=began))
        tracker.abandon_sweep()
        (run,) = [run for run in runs_of(uri) if names.RUN_KEY in run.data.tags]
        assert run.info.status == "KILLED"
        assert 60_000 <= run.info.end_time - run.info.start_time < 90_000


def runs_of(uri):
    client = MlflowClient(uri)
    return client.search_runs([client.get_experiment_by_name("effbench").experiment_id])


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(
    "line",
    ["tags.effbench.axis.prune = '0.5'", "tags.`effbench.axis.prune` = '0.5'", 'tags."effbench.axis.prune" = "0.5"'],
)
def test_axes_are_searched_by_their_tags(uri, opened, record, line):
    tracker = opened(uri)
    for key, value in (("a", "0.5"), ("b", "0.9")):
        tags = {**record("a").tags, f"{names.AXIS}prune": value}
        tracker.log_run(record(key, tags=tags), status="FINISHED")
    client = MlflowClient(uri)
    number = client.get_experiment_by_name("effbench").experiment_id
    assert [run.data.tags[names.RUN_KEY] for run in client.search_runs([number], line)] == ["a"]


def test_a_run_that_diverged_is_logged_with_what_is_a_number(uri, opened, record):
    tracker = opened(uri)
    odd = {"loss": math.nan, "accuracy": 0.1, "x": math.inf}
    tracker.log_run(record("a", metrics=odd, tags={names.NOT_FINITE: "loss=nan"}), status="FINISHED")
    tracker.log_metrics("a", {"latency": math.nan, "speedup": 1.0})
    tracker.close_sweep(status="FINISHED", metrics={"n_runs": 1, "odd": math.nan}, files={}, tags={})
    assert load_runs()["speedup"].tolist() == [1.0]


def test_parent_and_children_say_who_began_them_and_where(uri, opened, record):
    tracker = opened(uri)
    tracker.log_run(record("a"), status="FINISHED")
    for run in runs_of(uri):
        assert {"mlflow.user", "mlflow.source.name", "mlflow.source.type"} <= set(run.data.tags)
