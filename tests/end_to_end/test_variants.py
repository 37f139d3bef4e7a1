"""The main job's variants: grids, other axes, networks, launchers and numbers of workers, measuring, trackers."""

import os
import shutil
import socket
import subprocess
import sys
import time

import pytest

import effbench

OWN_NETWORK = """
from torch import nn


def tiny(*, width=4, num_classes=10, in_channels=1):
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3, stride=4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(num_classes)
    )


def small(*, alpha=1.0, num_classes=10, in_channels=1):
    width = max(1, round(8 * alpha))
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(49 * width, num_classes)
    )
"""


@pytest.mark.waiting
def test_any_number_of_workers_and_any_launcher_give_the_same_bits(folder, sweep, at, monkeypatch, empty_database):
    arguments = (
        "+prune=0.5,0.9 train.epochs=1 finetune.epochs=1 train.fraction=0.2 measure.seconds=0.02 measure.disturbed=keep"
    )
    results = {}
    ways = {
        "serial": "sweep.jobs=1",
        "workers": "sweep.jobs=2",
        "joblib": "hydra/launcher=joblib hydra.launcher.n_jobs=2",
    }
    for name, way in ways.items():
        place = at(folder.path / name)
        place.path.mkdir()
        shutil.copy(empty_database, place.path / "mlflow.db")
        monkeypatch.chdir(place.path)
        status, _, err = sweep(f"{arguments} {way}", quick=False)
        assert status == 0, err
        results[name] = place.results()
    assert len(results["serial"]) == 3
    assert results["workers"] == results["serial"]
    assert results["joblib"] == results["serial"]


@pytest.mark.extended
def test_a_grid_of_two_axes_with_two_seeds(folder, sweep):
    status, out, err = sweep("+prune=0,0.9 +bits=4,32 +seed=0,1")
    assert status == 0, err
    frame = folder.frame()
    assert len(frame) == 8  # 2 x 2 points, of which one is the reference, with 2 seeds
    assert sorted(set(frame["point"])) == ["bits=4", "prune=0.9", "prune=0.9, bits=4", "reference"]
    assert set(frame["seed"]) == {0, 1}
    assert set(frame.attrs["axes"]) == {"prune", "bits"}
    assert "±" in out
    references = frame[frame["reference"]].set_index("seed")["run_key"]
    for _, row in frame.iterrows():
        assert row["reference_key"] == references[row["seed"]]
    keys = [line for line in out.splitlines() if line.startswith("size_bytes")]
    assert len(keys) >= 1


@pytest.mark.extended
def test_the_axes_of_network_and_data(folder, sweep):
    status, _, err = sweep("+alpha=0.5 +rho=0.5 +rho_eval=1,0.75 +pooling=late")
    assert status == 0, err
    frame = folder.frame().set_index("point")
    assert {"reference", "alpha=0.5, rho=0.5, pooling=late"} <= set(frame.index)
    small = frame.loc["alpha=0.5, rho=0.5, pooling=late"]
    assert small["params"] < frame.loc["reference", "params"]
    assert (small["side"], small["eval_side"]) == (14, 14)
    evaluated = frame.loc["alpha=0.5, rho=0.5, rho_eval=0.75, pooling=late"]
    assert (evaluated["side"], evaluated["eval_side"]) == (14, 21)
    assert evaluated["macs"] > small["macs"]


@pytest.mark.extended
def test_another_network_with_fewer_axes(folder, sweep):
    status, _, err = sweep("model=lenet_300_100 +rho=0.5")
    assert status == 0, err
    frame = folder.frame().set_index("point")
    assert frame.loc["reference", "params"] == 266_610
    assert frame.loc["rho=0.5", "params"] == 266_610 - 300 * (784 - 196)


@pytest.mark.extended
def test_a_users_own_network(folder, sweep, own_network):
    own_network(OWN_NETWORK, name="nets_of_a_user")
    status, _, err = sweep("model._target_=nets_of_a_user.small +alpha=0.5 +bits=4")
    assert status == 0, err
    assert set(folder.frame()["model"]) == {"small"}


@pytest.mark.extended
def test_a_users_own_network_with_options_in_workers(folder, sweep, own_network):
    own_network(OWN_NETWORK, name="more_nets_of_a_user")
    quick = (
        "train.epochs=1 finetune.epochs=1 train.fraction=0.1 measure.seconds=0.02 measure.disturbed=keep sweep.jobs=2"
    )
    status, _, err = sweep(f"model._target_=more_nets_of_a_user.small model.alpha=2 prune=0.5,0.9 {quick}", quick=False)
    assert status == 0, err
    assert len(folder.children("FINISHED")) == 3


@pytest.mark.extended
def test_another_key_with_several_values_multiplies_the_points(folder, sweep):
    status, out, err = sweep("+prune=0.9 stage.prune.criterion=magnitude,random")
    assert status == 0, err
    frame = folder.frame()
    labels = set(frame["point"])
    assert any("random" in label and "prune=0.9" in label for label in labels)
    assert any("magnitude" in label and "prune=0.9" in label for label in labels)
    pruned = frame[frame["prune"] == 0.9]
    assert pruned["size_bytes"].nunique() == 2
    assert frame[frame["reference"]]["run_key"].nunique() == 1  # the criterion changes no reference
    assert "criterion" in out


@pytest.mark.extended
def test_measuring_more_makes_metrics_not_runs(folder, sweep):
    status, _, err = sweep("+prune=0.9 measure.batch=1,8")
    assert status == 0, err
    runs = folder.children()
    assert len(runs) == 2
    for run in runs:
        for metric in ("latency_ms/eager", "latency_ms/eager.b8", "speedup/eager.b8", "latency_ms_p90/eager.b8"):
            assert run.data.metrics[metric] > 0


@pytest.mark.extended
def test_rounds_train_the_reference_as_long_as_the_points(folder, sweep):
    status, _, err = sweep("+prune=0.9 recipe.rounds=2")
    assert status == 0, err
    steps = {run.data.tags["effbench.point"]: run.data.tags["effbench.steps"] for run in folder.children()}
    assert steps["reference"].split(" → ") == ["train", "best of 0 to 2 × (finetune)"]
    assert steps["prune=0.9"].split(" → ") == ["train", "prune", "finetune", "prune/1", "finetune/1"]


@pytest.mark.extended
def test_another_database_and_another_experiment(folder, sweep):
    uri = f"sqlite:///{folder.path / 'elsewhere' / 'runs.db'}"  # neither it nor its folder is there
    status, out, err = sweep(f"+prune=0.9 tracking.uri={uri} tracking.experiment=mine")
    assert status == 0, err
    assert len(effbench.load_runs("mine", tracking_uri=uri)) == 2
    assert folder.runs() == []
    assert f"--backend-store-uri {uri}" in out


@pytest.mark.extended
def test_the_environment_names_the_tracker(folder, sweep, monkeypatch, empty_database):
    uri = f"sqlite:///{shutil.copy(empty_database, folder.path / 'by_environment.db')}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    status, _, err = sweep("+prune=0.9")
    assert status == 0, err
    assert len(effbench.load_runs()) == 2
    assert folder.runs() == []


@pytest.fixture
def server(tmp_path):
    """Return the address of a real MLflow server on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = tmp_path / "server"
    place.mkdir()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *(
            "--backend-store-uri",
            f"sqlite:///{place / 'server.db'}",
            "--artifacts-destination",
            str(place / "artifacts"),
        ),
    ]
    with (place / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command, cwd=place, stdout=log, stderr=log, env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
        )
    try:
        from effbench.tracking.location import why_unusable

        address = f"http://127.0.0.1:{port}"
        for _ in range(240):
            if why_unusable(address) is None:
                break
            assert process.poll() is None, (place / "log.txt").read_text()
            time.sleep(0.25)
        yield address
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.waiting
def test_a_real_server(folder, sweep, server):
    status, out, err = sweep(f"+prune=0.9 tracking.uri={server}")
    assert status == 0, err
    frame = effbench.load_runs(tracking_uri=server)
    assert set(frame["point"]) == {"reference", "prune=0.9"}
    assert folder.runs() == []
    assert not (folder.path / "mlruns").exists()
    assert server in out
    status, again, err = sweep(f"+prune=0.9 tracking.uri={server}")
    assert (status, again) == (0, out)  # and nothing of MLflow's own between the lines
    assert len(effbench.load_runs(tracking_uri=server)) == 2


@pytest.mark.extended
def test_a_dry_run_runs_nothing_and_shows_what_is_kept(folder, sweep):
    status, out, err = sweep("+prune=0.5,0.9 dry_run=true")
    assert (status, err) == (0, "")
    assert "3 runs, 0 kept, 3 to run" in out
    assert folder.runs() == [] and not (folder.path / ".effbench").exists()
    assert sweep("+prune=0.9")[0] == 0
    status, out, _ = sweep("+prune=0.5,0.9 dry_run=true")
    assert "3 runs, 2 kept, 1 to run" in out
    assert len(folder.children()) == 2
