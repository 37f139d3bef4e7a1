"""The view of a sweep is kept once, and its page's path is as MLflow reads it."""

import json
from urllib.parse import parse_qs

import pytest
from mlflow.tracking import MlflowClient

from effbench.tracking import names
from effbench.tracking.page import VIEW

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*")


def test_the_view_has_the_runs_of_the_sweep_and_the_columns_that_were_asked_for(uri, opened, record, monkeypatch):
    tracker = opened(uri)
    tracker.log_run(record("a"), status="FINISHED")
    asked = {"params": ["prune", "my key"], "metrics": ["accuracy", "latency_ms/eager"]}
    path = tracker.share_view(**asked, order="size_bytes", with_models=False)
    route, _, query = path.partition("?")
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("effbench")
    assert route == f"/#/experiments/{experiment.experiment_id}/runs"
    view = json.loads(experiment.tags[VIEW + parse_qs(query)["viewStateShareKey"][0]])
    columns = ["params.`prune`", "params.`my key`", "metrics.`accuracy`", "metrics.`latency_ms/eager`"]
    assert view["selectedColumns"] == view["columnOrder"] == columns
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`size_bytes`", False)
    (run,) = client.search_runs([experiment.experiment_id], view["searchFilter"])
    assert run.data.tags[names.RUN_KEY] == "a"
    kept = []
    monkeypatch.setattr(MlflowClient, "set_experiment_tag", lambda self, *tag: kept.append(tag))
    assert tracker.share_view(**asked, order="size_bytes", with_models=False) == path
    assert kept == []
    tracker.share_view(**asked, order="size_bytes", with_models=True)
    assert json.loads(kept[0][2])["selectedColumns"] == [*columns, "attributes.`Models`"]
    tracker.abandon_sweep()
