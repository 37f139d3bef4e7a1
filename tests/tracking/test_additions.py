"""Metrics and tags added to runs of an earlier command, and read back."""

import pytest

import effbench
from effbench.tracking.additions import add_to_runs, tags_of
from effbench.tracking.tracker import RunRecord, TrackingError
from effbench.tracking.write import MlflowTracker

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def logged(tmp_path):
    """Return a database with a finished run, and the run's id."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracker = MlflowTracker(uri, "effbench")
    tracker.open_sweep("abc", name="a sweep", params={}, tags={})
    record = RunRecord(name="a run", key="key", params={"prune": 0.5}, tags={}, metrics={"accuracy": 0.5}, files={})
    tracker.log_run(record, status="FINISHED")
    tracker.close_sweep(status="FINISHED", metrics={}, files={}, tags={})
    return uri, str(effbench.load_runs(tracking_uri=uri)["run_id"].iloc[0])


def test_what_is_added_is_in_the_table_of_runs_and_the_latest_value_counts(logged):
    uri, run_id = logged
    for value in (3.0, 2.0):
        add_to_runs({run_id: {"latency_ms/onnxruntime:pi5": value}}, {}, tracking_uri=uri)
    runs = effbench.load_runs(tracking_uri=uri)
    assert runs[["accuracy", "latency_ms/onnxruntime:pi5"]].to_numpy().tolist() == [[0.5, 2.0]]


def test_tags_are_found_by_the_beginning_of_their_names(logged):
    uri, run_id = logged
    add_to_runs({}, {run_id: {"effbench.file/aot": "12", "other": "3"}}, tracking_uri=uri)
    assert tags_of([run_id], "effbench.file/", tracking_uri=uri) == {run_id: {"aot": "12"}}
    assert tags_of([run_id], "nothing/", tracking_uri=uri) == {run_id: {}}


def test_what_is_not_there_is_told_in_a_line(logged, tmp_path):
    uri, _ = logged
    with pytest.raises(TrackingError, match=r"^tracking\.uri=sqlite"):
        add_to_runs({"no-such-run": {"a": 1.0}}, {}, tracking_uri=uri)
    with pytest.raises(ValueError, match="there is no database"):
        tags_of(["a"], "b", tracking_uri=f"sqlite:///{tmp_path}/none.db")
