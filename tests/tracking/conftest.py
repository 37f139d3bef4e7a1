"""A working folder of its own with an empty database, and what is logged there."""

import pytest

from effbench.tracking import names
from effbench.tracking.tracker import RunRecord
from effbench.tracking.write import MlflowTracker


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def uri(here, empty_database):
    (here / "mlflow.db").write_bytes(empty_database.read_bytes())
    return f"sqlite:///{here / 'mlflow.db'}"


@pytest.fixture
def record():
    """Return a factory of records by their keys."""

    def make(key, **changes):
        options = {
            "name": f"point {key}, seed=0",
            "key": key,
            "params": {"prune": 0.5, "seed": 0, "pooling": "1-3"},
            "tags": {
                names.REFERENCE: "a",
                names.POINT: f"point {key}",
                names.AXES: "prune,pooling",
                f"{names.QUALITY}_name": "accuracy",
                f"{names.QUALITY}_kind": "ratio",
            },
            "metrics": {"accuracy": 0.0, "size_bytes": 12, "latency_ms/eager": float("nan")},
            "files": {"model.effb": b"\x00\x01"},
        }
        return RunRecord(**{**options, **changes})

    return make


@pytest.fixture
def opened():
    """Return what opens a sweep: opened(uri) -> its tracker."""

    def make(uri, sweep_id="0123456789ab", **changes):
        tracker = MlflowTracker(uri, "effbench")
        tracker.open_sweep(sweep_id, **{"name": "a sweep", "params": {"lr": 1}, "tags": {}, **changes})
        return tracker

    return make


LONG_AGO = 10**12
"""When the first of the awkward runs began, in milliseconds since 1970."""


@pytest.fixture
def awkward(here, awkward_database):
    """Return the URI of a database of runs of every kind."""
    (here / "mlflow.db").write_bytes(awkward_database.read_bytes())
    return f"sqlite:///{here / 'mlflow.db'}"


@pytest.fixture(scope="session")
def awkward_database(tmp_path_factory, empty_database):
    """Log, with MLflow itself, what a table of runs has to cope with; return the database."""
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("awkward") / "mlflow.db"
    path.write_bytes(empty_database.read_bytes())
    client = MlflowClient(f"sqlite:///{path}")
    experiments = {name: client.create_experiment(name, "file:///nowhere") for name in ("effbench", "another", "empty")}

    def log(key, start, *, sweep="abc1", status="FINISHED", experiment="effbench", params=(), metrics=(), **tags):
        own = {} if key is None else {names.SWEEP: sweep, names.RUN_KEY: key, names.REFERENCE: "a"}
        run = client.create_run(experiments[experiment], start_time=LONG_AGO + start, run_name=f"run {key}")
        run_id, others = run.info.run_id, {name.replace("__", "."): value for name, value in tags.items()}
        client.log_batch(
            run_id,
            metrics=[Metric(name, value, step, step) for step, (name, value) in enumerate(metrics)],
            params=[Param(name, value) for name, value in dict(params).items()],
            tags=[RunTag(name, value) for name, value in (own | others).items()],
        )
        if status != "RUNNING":
            client.set_terminated(run_id, status)
        return run_id

    quality = {"quality_name": "accuracy", "quality_chance": "0.1"}
    words = {"ratio": "0.50", "word": "größe", "none": "None", "nan": "NaN", "inf": "inf", "flag": "True", "empty": ""}
    log("a", 5, params={**words, "seed": "0"}, metrics=[("loss", 2.5), ("accuracy", 1 / 3)], **quality)
    log("b", 5, params={"seed": "1", **words, "word": "1e3"}, metrics=[("accuracy", 0.1), ("loss", float("nan"))])
    log("c", 4, params={"new": '"quoted\\, [\u2028\U0001f600'}, metrics=[("loss", 3.0), ("loss", 1.0)], **quality)
    log("a", 9, params={"seed": "7"}, metrics=[("loss", float("inf")), ("tiny", 5e-324)], effbench__axes="prune,bits")
    log("a", 9, params={"seed": "8"}, metrics=[("loss", -float("inf")), ("odd", 0.1 + 0.2)], effbench__control="true")
    log("d", 6, sweep="Abc2", params={"big": "18446744073709551615", "ids": "007"}, effbench__axes="bits,,rho")
    log("e", 7, sweep="other", params={"run_id": "mine", "accuracy": "0.5", "control": "x", "start_time": "noon"})
    log("f", 8, sweep="other", params={"seed": "3", "model": "m"}, status="FAILED", effbench__error="Boom: [x]")
    log("f", 3, sweep="other", params={"seed": "4", "task": "t"}, status="FAILED", effbench__control="true")
    log("a", 11, params={"seed": "4"}, status="FAILED")
    log("g", 2, params={"seed": "auto"}, status="FAILED")
    log("h", 1, status="KILLED")
    log("i", 0, status="RUNNING", metrics=[("loss", 1.0)])
    log(None, 6, params={"foreign": "1"}, metrics=[("foreign_metric", 1.0)])
    log("z", 6, params={"elsewhere": "1"}, experiment="another")
    client.delete_run(log("gone", 6, params={"deleted": "1"}))
    return path
