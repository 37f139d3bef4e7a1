"""Where runs are kept, what is written there and how it is read back."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

from effbench.run.counts import pack_correctness
from effbench.tracking import names
from effbench.tracking.location import for_reading, for_writing, sqlite_path, why_unusable
from effbench.tracking.read import load_correctness, load_runs
from effbench.tracking.tracker import Dataset, RunRecord, TrackingError
from effbench.tracking.write import MlflowTracker

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def uri(here, empty_database):
    (here / "mlflow.db").write_bytes(empty_database.read_bytes())
    return f"sqlite:///{here / 'mlflow.db'}"


OPEN = """
import sys
from effbench.tracking.write import MlflowTracker
MlflowTracker(sys.argv[1], "effbench")
"""


@pytest.mark.slow
@pytest.mark.parametrize("at_bytes", [1, 100_000, 500_000])
def test_killed_while_the_database_is_made_it_is_made_anew(here, at_bytes):
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


def test_an_empty_file_becomes_a_database(here):
    (here / "mlflow.db").touch()
    opened(f"sqlite:///{here / 'mlflow.db'}")
    assert load_runs(tracking_uri=f"sqlite:///{here / 'mlflow.db'}").empty


def test_options_of_a_database_are_not_part_of_its_name(here, uri):
    tracker = opened(f"{uri}?timeout=3")
    tracker.log_run(record("a"), status="FINISHED")
    assert len(load_runs(tracking_uri=f"{uri}?timeout=3")) == 1
    assert sqlite_path(f"{uri}?timeout=3") == here / "mlflow.db"


def record(key, **changes):
    options = {
        "name": f"point {key}, seed=0",
        "key": key,
        "params": {"prune": 0.5, "seed": 0, "pooling": "1-3"},
        "tags": {names.REFERENCE: "a", names.POINT: f"point {key}", names.AXES: "prune,pooling"},
        "metrics": {"accuracy": 0.0, "size_bytes": 12, "latency_ms/eager": float("nan")},
        "files": {"model.effb": b"\x00\x01"},
    }
    return RunRecord(**{**options, **changes})


def opened(uri, sweep_id="0123456789ab", **changes):
    tracker = MlflowTracker(uri, "effbench")
    tracker.open_sweep(sweep_id, **{"name": "a sweep", "params": {"lr": 1}, "tags": {}, **changes})
    return tracker


def test_the_explicit_uri_comes_first_then_the_environment_then_the_folder(here, monkeypatch):
    assert for_writing(None) == f"sqlite:///{here / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there")
    assert for_writing(None) == for_reading(None) == "http://there"
    assert for_writing("http://here") == for_reading("http://here") == "http://here"


def test_reading_looks_upwards_and_creates_nothing(here, monkeypatch):
    below = here / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    above = next((folder / "mlflow.db" for folder in here.parents if (folder / "mlflow.db").is_file()), None)
    if above is None:
        with pytest.raises(ValueError, match=r"there is no mlflow\.db"):
            load_runs()
    else:  # the temporary folder lies in one where a sweep was run
        assert for_reading(None) == f"sqlite:///{above}"
    with pytest.raises(ValueError, match="there is no database at"):
        load_runs(tracking_uri=f"sqlite:///{here / 'nothing.db'}")
    assert not list(here.glob("**/*.db"))
    (here / "a" / "mlflow.db").touch()
    assert for_reading(None) == f"sqlite:///{here / 'a' / 'mlflow.db'}"


def test_only_sqlite_has_a_path():
    assert sqlite_path("sqlite:////tmp/x.db") == Path("/tmp/x.db")
    assert sqlite_path("postgresql://there/db") is None


@pytest.mark.parametrize("uri", ["mlruns", "./mlruns", "/some/folder", "file:///some/folder", "nope://x", ""])
def test_what_is_neither_server_nor_database_is_refused(uri):
    assert "must be a server" in why_unusable(uri)
    if uri:
        with pytest.raises(TrackingError, match=r"tracking\.uri=.*must be a server"):
            MlflowTracker(uri, "effbench")


def test_a_server_that_does_not_answer_is_said_so_at_once():
    assert why_unusable("http://127.0.0.1:9") == "no server answers there (Connection refused)"
    assert why_unusable("sqlite:///x.db") is None
    assert why_unusable("postgresql+psycopg://user@there/db") is None
    with pytest.raises(ValueError, match=r"tracking_uri=http://127\.0\.0\.1:9: no server answers"):
        load_runs(tracking_uri="http://127.0.0.1:9")


def test_unknown_experiments_and_sweeps_are_named(uri):
    tracker = opened(uri)
    tracker.log_run(record("a"), status="FINISHED")
    with pytest.raises(ValueError, match=r"experiment=other: there is none of that name.*effbench"):
        load_runs("other")
    with pytest.raises(ValueError, match="sweep=ffff: there is none of that id; there are 0123456789ab"):
        load_runs(sweep="ffff")
    assert len(load_runs(sweep="0123")) == 1


def test_a_file_that_is_no_database_is_said_so(here):
    (here / "mlflow.db").write_bytes(b"no database" * 500)
    with pytest.raises(ValueError, match=r"mlflow\.db: can't be read .*not a database"):
        load_runs()
    with pytest.raises(TrackingError, match=r"mlflow\.db: can't be used .*not a database.*; move that file away"):
        MlflowTracker(f"sqlite:///{here / 'mlflow.db'}", "effbench")


def test_a_run_is_read_as_it_was_written(uri, here):
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


def test_ids_that_look_like_numbers_stay_text(uri):
    tracker = opened(uri, sweep_id="123456789012")
    tracker.log_run(record("10e5", name="7", tags={names.REFERENCE: "10e5", names.POINT: "8"}), status="FINISHED")
    (row,) = load_runs().to_dict("records")
    assert (row["sweep"], row["run_key"], row["point"], row["run_name"]) == ("123456789012", "10e5", "8", "7")


def test_each_key_comes_once_the_latest_and_the_unfinished_are_listed(uri):
    for sweep_id, accuracy in (("first", 0.1), ("second", 0.2)):
        tracker = opened(uri, sweep_id=sweep_id)
        tracker.log_run(record("a", metrics={"accuracy": accuracy}), status="FINISHED")
    tracker.log_run(record("b", tags={**record("b").tags, names.ERROR: "Boom: x"}, metrics={}), status="FAILED")
    frame = load_runs()
    assert frame[["run_key", "accuracy"]].to_numpy().tolist() == [["a", 0.2]]
    ((_, name, status, error),) = frame.attrs["unfinished"]
    assert (name, status, error) == ("point b, seed=0", "FAILED", "Boom: x")
    assert load_runs(sweep="first")["accuracy"].tolist() == [0.1]


def test_an_experiment_without_finished_runs_is_an_empty_frame(uri):
    opened(uri).log_run(record("a", metrics={}), status="FAILED")
    frame = load_runs()
    assert len(frame) == 0
    assert len(frame.attrs["unfinished"]) == 1


def test_a_sweep_is_continued_and_what_was_left_open_is_closed(uri):
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
    again.close_sweep(status="FINISHED", metrics={"n_runs": 1}, files={"table.csv": b"x"})
    assert client.get_run(parent.info.run_id).info.status == "FINISHED"


def test_an_abandoned_sweep_closes_its_own_runs_only(uri):
    other = opened(uri, sweep_id="other")
    tracker = opened(uri)
    client = MlflowClient(uri)
    tracker.abandon_sweep()
    experiment = client.get_experiment_by_name("effbench").experiment_id
    statuses = {run.data.tags[names.SWEEP]: run.info.status for run in client.search_runs([experiment])}
    assert statuses == {"other": "RUNNING", "0123456789ab": "KILLED"}
    other.abandon_sweep()
    MlflowTracker(uri, "effbench").abandon_sweep()  # none was opened: nothing to do


def test_metrics_that_are_there_already_are_not_logged_again(uri, monkeypatch):
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


def test_a_reused_result_names_the_run_that_computed_it(uri):
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


def test_many_and_long_params_are_logged(uri):
    params = {f"p{number}": "x" * 700 for number in range(130)}
    tracker = opened(uri, params=params)
    tracker.log_run(record("a", params=params), status="FINISHED")
    (row,) = load_runs().to_dict("records")
    assert sum(name.startswith("p") and name[1:].isdigit() for name in row) == 130
    assert len(row["p0"]) == 500


def test_correctness_is_read_back_by_run_key(uri):
    tracker = opened(uri)
    rng = np.random.default_rng(0)
    written = {key: {"val": rng.random(13) < 0.5, "test": rng.random(21) < 0.5} for key in "ab"}
    for key, bits in written.items():
        tracker.log_run(record(key, files={names.CORRECTNESS: pack_correctness(**bits)}), status="FINISHED")
    frame = load_runs()
    for quality, split in (("accuracy_val", "val"), ("accuracy", "test")):
        found = load_correctness(frame, quality=quality)
        assert sorted(found) == ["a", "b"]
        assert all(np.array_equal(found[key], written[key][split]) for key in found)
    assert list(load_correctness(frame[frame["run_key"] == "b"])) == ["b"]


def test_correctness_that_is_not_there_is_named(uri):
    opened(uri).log_run(record("a"), status="FINISHED")
    frame = load_runs()
    with pytest.raises(ValueError, match="run a: its correctness can't be read"):
        load_correctness(frame)
    with pytest.raises(ValueError, match="quality=loss: correctness is known of accuracy_val and of accuracy"):
        load_correctness(frame, quality="loss")
