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
