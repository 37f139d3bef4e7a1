"""Runs written to MLflow: whole or not at all, each once, in plain words where that fails."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

from effbench.tracking import names
from effbench.tracking.location import sqlite_path
from effbench.tracking.read import load_runs
from effbench.tracking.tracker import Dataset, TrackingError
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
