"""MLflow's database without MLflow: whether a sweep is finished there."""

import sqlite3
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from effbench.tracking.database import is_finished

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*")

SWEEP = "0123456789ab"


@pytest.fixture
def path(here, uri):
    return here / "mlflow.db"


@pytest.fixture
def finished(uri, opened, record):
    """Log a sweep of the runs a and b that is finished; return its tracker."""
    tracker = opened(uri)
    for key in "ab":
        tracker.log_run(record(key), status="FINISHED")
    tracker.close_sweep(status="FINISHED", metrics={}, files={}, tags={})
    return tracker


def parent_of(client):
    (run,) = client.search_runs(["1"], "run_name = 'a sweep'")
    return run.info.run_id


def test_a_finished_sweep_is_one_whose_parent_and_runs_are(path, finished):
    assert is_finished(path, "effbench", SWEEP, ["a", "b"])
    assert is_finished(path, "effbench", SWEEP, ["a"])
    assert not is_finished(path, "effbench", SWEEP, ["a", "b", "c"])
    assert not is_finished(path, "effbench", SWEEP[:-1], ["a", "b"])
    assert not is_finished(path, "other", SWEEP, ["a", "b"])


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("status", ["FAILED", "KILLED", "RUNNING"])
def test_neither_a_parent_nor_a_run_with_another_end_is_finished(path, uri, opened, record, status):
    tracker = opened(uri)
    tracker.log_run(record("a"), status="FINISHED")
    if status != "RUNNING":
        tracker.log_run(record("b"), status=status)
        tracker.close_sweep(status=status, metrics={}, files={}, tags={})
    assert not is_finished(path, "effbench", SWEEP, ["a"])
    tracker.close_sweep(status="FINISHED", metrics={}, files={}, tags={})
    assert is_finished(path, "effbench", SWEEP, ["a"])
    assert not is_finished(path, "effbench", SWEEP, ["a", "b"])


def test_the_runs_of_another_sweep_do_not_count(path, uri, finished, opened, record):
    other = opened(uri, sweep_id="another")
    other.log_run(record("c"), status="FINISHED")
    other.close_sweep(status="FINISHED", metrics={}, files={}, tags={})
    assert not is_finished(path, "effbench", SWEEP, ["a", "c"])
    assert not is_finished(path, "effbench", "another", ["a", "c"])
    assert is_finished(path, "effbench", "another", ["c"])


def test_what_was_deleted_is_not_there(path, uri, finished):
    client = MlflowClient(uri)
    (run,) = client.search_runs(["1"], "tags.`effbench.run_key` = 'a'")
    for gone, back in (
        (lambda: client.delete_run(run.info.run_id), lambda: client.restore_run(run.info.run_id)),
        (lambda: client.delete_run(parent_of(client)), lambda: None),
    ):
        gone()
        assert not is_finished(path, "effbench", SWEEP, ["a", "b"])
        back()


def test_a_deleted_experiment_is_not_there(path, uri, finished):
    MlflowClient(uri).delete_experiment("1")
    assert not is_finished(path, "effbench", SWEEP, ["a", "b"])


def test_of_two_parents_the_first_counts(path, uri, finished):
    client = MlflowClient(uri)
    client.create_run("1", run_name="later", tags={"effbench.sweep": SWEEP}, start_time=2**42)
    assert is_finished(path, "effbench", SWEEP, ["a"])
    client.create_run("1", run_name="earlier", tags={"effbench.sweep": SWEEP}, start_time=1)
    assert not is_finished(path, "effbench", SWEEP, ["a"])


@pytest.mark.parametrize("content", [None, b"", b"no database at all" * 100, "CREATE TABLE runs (run_uuid)"])
def test_what_can_not_be_read_is_not_finished(here, content):
    path = here / "some.db"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        with sqlite3.connect(path) as database:
            database.execute(content)
        database.close()
    assert not is_finished(path, "effbench", SWEEP, [])
    assert path.exists() == (content is not None)


def test_a_file_may_have_any_name(here, path, finished):
    for name in ("a b.db", "100%.db", "50%25.db", "what?mode=memory.db", "a#b.db", "é 日本.db", "a&b;c.db"):
        (here / name).write_bytes(path.read_bytes())
        assert is_finished(here / name, "effbench", SWEEP, ["a", "b"])
        assert is_finished(Path(f"/{here / name}"), "effbench", SWEEP, ["a", "b"])  # two slashes
