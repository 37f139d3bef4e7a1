"""Files of runs read back: from this machine, from where they were moved to, through MLflow."""

import pytest
from mlflow.tracking import MlflowClient

from effbench.tracking.artifacts import RunFiles, moves_at, read_artifact
from effbench.tracking.database import Database
from effbench.tracking.location import sqlite_path
from effbench.tracking.read import load_counts, load_runs
from effbench.tracking.server import Server

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*")
CONFIG = b"prune: 0.5\ntrain:\n  weight_decay: 0.01\n"


@pytest.fixture
def logged(uri, opened, record):
    """Log two runs with a configuration; return what opened them."""
    tracker = opened(uri)
    for key in "ab":
        tracker.log_run(record(key, files={"config.yaml": CONFIG, "counts.npz": b"no counts"}), status="FINISHED")
    tracker.close_sweep(status="FINISHED", metrics={}, files={}, tags={})
    return uri


@pytest.mark.parametrize("source", [Database, Server])
def test_it_is_the_same_from_a_database_and_through_mlflow(logged, source):
    runs = load_runs()["run_id"].tolist()
    there = Database(sqlite_path(logged)) if source is Database else Server(logged)
    files = RunFiles(logged, there.artifact_uris)
    assert files.texts([*runs, "no such run"], "config.yaml") == [CONFIG.decode()] * 2 + [None]
    assert files.texts(runs, "no such file") == [None, None]
    assert files.texts([], "config.yaml") == []


def test_columns_come_from_a_folder_that_was_moved(logged, here, monkeypatch):
    (here / "moved").mkdir()
    for name in ("mlflow.db", "mlruns"):
        (here / name).rename(here / "moved" / name)
    monkeypatch.chdir(here / "moved")
    uri = f"sqlite:///{here / 'moved' / 'mlflow.db'}"
    assert load_runs(columns="train.weight_decay")["train.weight_decay"].tolist() == [0.01, 0.01]
    run_id = load_runs()["run_id"][0]
    assert read_artifact(MlflowClient(uri), run_id, "config.yaml", moves_at(uri)) == CONFIG


def test_what_is_unreadable_is_no_column(logged, here):
    for path in here.glob("mlruns/*/artifacts/config.yaml"):
        path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"columns=train.weight_decay: config.yaml can't be read"):
        load_runs(columns=["train.weight_decay"])
    with pytest.raises(ValueError, match="its counts can't be read"):
        load_counts(load_runs().assign(quality_name="accuracy", quality_kind="ratio"))
