"""What is asked of MLflow of one run."""

import pytest
from mlflow.tracking import MlflowClient

from effbench.tracking.run_requests import log_files, log_values, milliseconds, search

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*")


def test_values_are_one_request_where_they_fit_and_none_where_there_are_none(uri, monkeypatch):
    client, calls = MlflowClient(uri), []
    run_id = client.create_run("0").info.run_id
    log_batch = MlflowClient.log_batch
    monkeypatch.setattr(MlflowClient, "log_batch", lambda *a, **k: calls.append(k) or log_batch(*a, **k))
    log_values(client, run_id)
    assert calls == []
    log_values(client, run_id, params={"a": 1}, metrics={"m": 2.0}, tags={"t": "x"})
    assert len(calls) == 1
    log_values(client, run_id, params={f"p{number}": number for number in range(101)})
    assert len(calls) == 3
    data = client.get_run(run_id).data
    assert (data.params["a"], data.metrics["m"], data.tags["t"], len(data.params)) == ("1", 2.0, "x", 102)


def test_no_files_are_no_request_and_all_pages_are_searched(uri, monkeypatch):
    client = MlflowClient(uri)
    monkeypatch.setattr("effbench.tracking.run_requests.PAGE", 2)
    runs = {client.create_run("0", tags={"t": "x"}).info.run_id for _ in range(5)}
    client.create_run("0")
    assert {run.info.run_id for run in search(client, "0", "tags.t = 'x'")} == runs
    log_files(client, "no run", {})


def test_times_are_in_milliseconds():
    assert milliseconds(1.0004) == 1000 and milliseconds(None) is None
