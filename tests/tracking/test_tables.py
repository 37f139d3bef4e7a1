"""The tables of tracked runs: those that are there, and those that are not."""

import pytest
from mlflow.tracking import MlflowClient

from effbench.tracking.tables import load_tables


@pytest.fixture
def run_ids(uri, record, opened):
    tracker = opened(uri)
    files = [{"curves.csv": b"epoch,loss\n1,0.5\n2,nan\n"}, {"curves.csv": b"", "sensitivity.csv": b"a,b\n1,2\n"}, {}]
    for key, own in zip("abc", files, strict=True):
        tracker.log_run(record(key, files=own), status="FINISHED")
    client = MlflowClient(uri)
    (experiment,) = [one for one in client.search_experiments() if one.name == "effbench"]
    runs = client.search_runs([experiment.experiment_id])
    by_key = {run.data.tags.get("effbench.run_key"): run.info.run_id for run in runs}
    return [by_key[key] for key in "abc"]


def test_tables_are_read_by_run_and_name(uri, run_ids):
    first, second, third = load_tables(run_ids, ("curves", "sensitivity"), tracking_uri=uri)
    assert list(first) == ["curves"] and first["curves"]["loss"].isna().tolist() == [False, True]
    assert list(second) == ["sensitivity"] and third == {}
    assert load_tables([], ("curves",), tracking_uri=uri) == []
