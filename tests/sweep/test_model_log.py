"""Which networks of a sweep are logged as models, what is said of them, and that nothing else changes."""

import pandas as pd
import pytest
import torch

import effbench
from effbench.config.read import read_sweep
from effbench.run.results import keep_result
from effbench.sweep.model_log import log_models, served_network
from effbench.tracking.tracker import TrackingError


@pytest.fixture
def finished(make_tracker, store, result_of, monkeypatch):
    """Return a sweep, the tracker that has its runs, and the store that has their results."""
    sweep = read_sweep(["+prune=0.5,0.9", "model=lenet_300_100"])
    for point in sweep.plan.points:
        result = result_of(point)
        blob = effbench.encode(point.chain.fresh_network())
        keep_result(point.key, result.__class__(**{**vars(result), "blob": blob}), store)
    return sweep, make_tracker(finished=[point.key for point in sweep.plan.points]), store


def test_each_logged_run_without_a_model_gets_one(finished):
    sweep, tracker, store = finished
    first, *others = sweep.plan.points
    tracker.models[first.key] = "there"
    del tracker.finished[others[0].key]
    said = []
    assert log_models(sweep.plan.points, store, tracker, say=said.append) is None
    assert tracker.models.keys() == {first.key, others[1].key} and tracker.models[first.key] == "there"
    assert said == ["logging the models of 1 runs"]
    log_models(sweep.plan.points, store, tracker, say=said.append)
    assert len(said) == 1


def test_what_is_logged_is_the_network_of_the_file_with_what_its_input_is(finished):
    sweep, _, store = finished
    point = sweep.plan.points[1]
    state = torch.random.get_rng_state()
    served = served_network(point, store)
    assert served.name == "lenet_300_100" and not served.network.training
    assert tuple(served.example.shape) == (2, 1, 28, 28)
    assert (served.example * 16 == (served.example * 16).round()).all() and served.example.unique().numel() > 20
    again = served_network(point, store)
    assert (again.example == served.example).all()  # whatever was drawn before
    assert served.metadata["input"] == (
        "float32 (N, 1, 28, 28): normalised images, not raw pixels: (pixel / 255 - mean) / deviation for each channel, "
        "with mean [0.1307] and deviation [0.3081]"
    )
    assert served.metadata["run_key"] == point.key
    torch.random.set_rng_state(state)


def test_one_that_can_not_be_exported_is_told_of_and_the_others_go_on(finished, monkeypatch):
    sweep, tracker, store = finished
    log = tracker.log_model
    failing = sweep.plan.points[0].key
    monkeypatch.setattr(tracker, "log_model", lambda key, served: "a reason" if key == failing else log(key, served))
    said = []
    assert log_models(sweep.plan.points, store, tracker, say=said.append) is None
    told = "no model is logged: its network can't be exported (a reason); effbench.load_model has it"
    assert said[1:] == [f"{sweep.plan.points[0]}: {told}"]
    assert len(tracker.models) == 2


def test_a_tracker_that_goes_away_is_returned(finished, monkeypatch):
    sweep, tracker, store = finished
    error = TrackingError("no answer")

    def away(key, served):
        raise error

    monkeypatch.setattr(tracker, "log_model", away)
    assert log_models(sweep.plan.points, store, tracker, say=lambda line: None) is error


def test_a_result_that_is_gone_is_said_so(finished, tmp_path):
    from effbench.run.store import Store

    with pytest.raises(OSError, match="is gone from"):
        served_network(finished[0].plan.points[0], Store(tmp_path / "other"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_finished_sweep_gets_models_and_nothing_else_of_its_runs_changes(swept, sweep_again):
    import mlflow

    before = effbench.load_runs(tracking_uri=sweep_again.uri)
    after = sweep_again(log_model=True)
    assert after.sweep_id == swept.sweep_id
    runs = effbench.load_runs(tracking_uri=sweep_again.uri)
    pd.testing.assert_frame_equal(runs, before, check_exact=True)
    images = torch.randn(3, 1, 28, 28)
    mlflow.set_tracking_uri(sweep_again.uri)
    for run_id in (runs["run_id"].iloc[0], runs["run_id"].iloc[-1]):
        network = mlflow.pytorch.load_model(f"runs:/{run_id}/lenet_300_100")
        with torch.no_grad():
            assert (network(images) == effbench.load_model(run_id, tracking_uri=sweep_again.uri)(images)).all()
    client = mlflow.MlflowClient(sweep_again.uri)
    models = client.search_logged_models([client.get_experiment_by_name("effbench").experiment_id])
    assert sorted(model.source_run_id for model in models) == sorted(runs["run_id"])
    mlflow.set_tracking_uri(None)
