"""Sweeps from Python: the same plan and results as the command's, and what only Python can give."""

import os
import shutil

import pytest
import torch
from torch import nn

import effbench
from effbench.config.read import read_sweep
from effbench.run.results import load_result
from effbench.run.store import Store
from effbench.sweep.__main__ import main

pytestmark = pytest.mark.filterwarnings("ignore")
QUICK = {
    "model": "lenet_300_100",
    "train": {"epochs": 1, "fraction": 0.1},
    "finetune": {"epochs": 1},
    "measure": {"seconds": 0.01},
    "sweep": {"jobs": 1},
}
SAME = (
    "model=lenet_300_100 train.epochs=1 train.fraction=0.1 finetune.epochs=1 measure.seconds=0.01 sweep.jobs=1".split()
)
MEASURED = ("latency", "speedup", "train_seconds")


@pytest.fixture
def folder(tmp_path, monkeypatch, empty_database):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def kept(root, keys):
    results = {key: load_result(key, Store(root)) for key in keys}
    return {
        key: (result.blob, {n: v for n, v in result.metrics.items() if not n.startswith(MEASURED)})
        for key, result in results.items()
    }


def test_it_does_what_the_command_does_to_the_bit(folder, capsys, empty_database):
    result = effbench.run_sweep(prune=[0.9], bits=[4], seed=[0, 1], tolerance=0.05, progress=False, **QUICK)
    assert capsys.readouterr().out == ""
    (folder / "command").mkdir()
    shutil.copy(empty_database, folder / "command" / "mlflow.db")
    os.chdir(folder / "command")
    assert main(["+prune=0.9", "+bits=4", "seed=0,1", "tolerance=0.05", *SAME]) == 0
    frame = effbench.load_runs()
    assert sorted(result.runs["run_key"]) == sorted(frame["run_key"]) and set(frame["sweep"]) == {result.sweep_id}
    keys = list(frame["run_key"])
    assert kept(folder / ".effbench", keys) == kept(folder / "command" / ".effbench", keys)
    printed = capsys.readouterr().out
    assert all(line in printed for line in str(result).splitlines() if line.startswith(("size_bytes", "macs")))
    os.chdir(folder)
    columns = [name for name in result.runs.columns if not name.startswith(MEASURED)]
    logged = effbench.load_runs().set_index("run_key").loc[result.runs["run_key"], columns[:3]]
    assert (logged.to_numpy() == result.runs[columns[:3]].to_numpy()).all()


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(
    "keywords",
    [
        {"prune": [0.1, 0.9], "seed": [0, 1]},
        {"alpha": [0.5], "rho": [0.5, 1], "model": "mobilenet_v1"},
        {"model": ["lenet_5", "small_cnn"], "bits": 4, "coder": ["ans", "context"]},
        {"task": "segmentation", "prune": 0.5},
        {"prune": 0.5, "stage": {"prune": {"layers": {"features.conv1": "skip"}, "criterion": "random"}}},
        {"prune": 0.5, "recipe": "lottery_ticket", "recipe__rounds": 2, "train__lr": [1e-3, 3e-3]},
    ],
)
def test_plans_are_those_of_the_command(folder, keywords):
    from effbench.config.keywords import arguments_of

    plan = effbench.plan_sweep(**keywords)
    sweep = read_sweep(arguments_of(keywords))
    assert plan.sweep_id == sweep.plan.sweep_id and len(plan) == len(sweep.plan.points)
    assert list(plan.runs["run_key"]) == [point.key for point in sweep.plan.points]
    assert set(plan.runs["status"]) == {"to run"} and f"{len(plan)} to run" in repr(plan)
    assert "<table" in plan._repr_html_() and not (folder / ".effbench").exists()


@pytest.mark.extended
def test_a_trained_network_is_where_a_sweep_starts(folder):
    network = linear()
    plan = effbench.plan_sweep(prune=0.5, model=network)
    assert set(plan.runs["steps"]) == {"up to 1 × (finetune)"} or all("train →" not in s for s in plan.runs["steps"])
    result = effbench.run_sweep(
        prune=0.5, progress=False, **{**QUICK, "model": network, "train": {}, "finetune": {"epochs": 0}}
    )
    assert torch.equal(result.model(reference=True)[1].weight, network[1].weight)
    pruned = result.model(prune=0.5)[1].weight
    assert torch.equal(pruned[pruned != 0], network[1].weight[pruned != 0])
    assert set(result.runs["model"]) == {"Sequential"}


def linear(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


@pytest.mark.extended
def test_several_networks_of_a_class_and_names_are_told_apart(folder):
    models = [linear(0), linear(1), "lenet_300_100"]
    keys = {"finetune": {"epochs": 0}, "train": {"epochs": 0}, "measure": {"seconds": 0.01}, "sweep": {"jobs": 1}}
    result = effbench.run_sweep(model=models, bits=4, progress=False, **keys)
    names = sorted(set(result.runs["model"]))
    assert len(names) == 3 and names[-1] == "lenet_300_100"
    assert all(name.startswith("Sequential-") for name in names[:2])
    found = [result.model(model=name, bits=4)[1].weight for name in names[:2]]
    expected = [result.model(model=name, reference=True)[1].weight for name in names[:2]]
    assert all(torch.allclose(one, other, atol=0.02) for one, other in zip(found, expected, strict=True))
    with pytest.raises(ValueError, match="2 runs are meant by model=Sequential, bits=4"):
        result.model(model="Sequential", bits=4)


@pytest.mark.extended
def test_an_object_teaches_as_a_name_does(folder):
    keys = {"prune": 0.5, "distill": 0.9, "model": "lenet_300_100", "train": {"epochs": 1}}
    one, same, other = (
        effbench.plan_sweep(**keys, stage={"distill": {"teacher": linear(seed)}}).runs["run_key"] for seed in (0, 0, 1)
    )
    assert list(one) == list(same) != list(other) and one[0] == other[0]
    wide = torch.nn.Sequential(nn.Flatten(), nn.Linear(784, 11))
    with pytest.raises(ValueError, match=r"stage\.distill"):
        effbench.plan_sweep(**keys, stage={"distill": {"teacher": wide}})


@pytest.mark.extended
def test_a_failed_run_fails_alone(folder):
    result = effbench.run_sweep(prune=[0.5], progress=False, **{**QUICK, "train": {"epochs": 1, "lr": 1e30}})
    assert len(result.failures) == 2 and not result.is_whole and len(result.runs) == 0
    assert "the loss is nan" in next(iter(result.failures.values())) and "failed:" in result.report()


@pytest.mark.extended
def test_an_interrupt_leaves_what_is_there_and_the_same_call_goes_on(folder, monkeypatch, capsys):
    from effbench.run import executors

    real, begun = executors.run_point, []

    def stopped(point, *given, **options):
        begun.append(point)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return real(point, *given, **options)

    monkeypatch.setattr(executors, "run_point", stopped)
    part = effbench.run_sweep(prune=[0.5, 0.7, 0.9], progress=False, **QUICK)
    assert (part.n_missing, len(part.runs), part.is_whole) == (2, 2, False)
    assert "interrupted: 2 of 4 runs are missing" in capsys.readouterr().err
    assert part.saturation("size_bytes").reason and part.model(prune=0.5) and "interrupted" in part._repr_html_()
    assert "failed" not in str(part) + part.saturation("size_bytes").reason
    with pytest.raises(ValueError, match="has not been run; the same call goes on"):
        part.model(prune=0.9)
    whole = effbench.run_sweep(prune=[0.5, 0.7, 0.9], progress=False, **QUICK)
    assert whole.is_whole and len(whole.runs) == 4 and whole.sweep_id == part.sweep_id
    assert len(begun) == 3 + 4
    assert whole.runs["run_key"][:2].tolist() == part.runs["run_key"].tolist()


@pytest.mark.extended
def test_interrupted_while_it_refines_it_has_what_was_refined_though_a_run_had_failed(folder, monkeypatch):
    from effbench.run import executors

    real, refined = executors.run_point, []

    def stopped(point, *given, **options):
        if point.label == "prune=0.1":
            raise ValueError("not this one")
        if point.label not in ("reference", "prune=0.5", "prune=0.9"):
            refined.append(point.label)
            if len(refined) == 2:
                raise KeyboardInterrupt
        return real(point, *given, **options)

    monkeypatch.setattr(executors, "run_point", stopped)
    keys = {**QUICK, "sweep": {"jobs": 1, "refine": 2}, "tolerance": 0.2}
    part = effbench.run_sweep(prune=[0.1, 0.5, 0.9], progress=False, **keys)
    assert part.runs["point"].tolist() == ["reference", "prune=0.5", "prune=0.9", refined[0]]
    assert part.runs["refined"].tolist() == [False, False, False, True] and part.n_missing == 2


@pytest.mark.extended
def test_what_another_sweep_refined_is_not_shown_where_the_grid_was_interrupted(folder, monkeypatch):
    from effbench.run import executors

    keys = {**QUICK, "sweep": {"jobs": 1, "refine": 1}, "tolerance": 0.2}
    whole = effbench.run_sweep(prune=[0.5, 0.9], progress=False, **keys)
    assert whole.runs["refined"].any()

    def stopped(point, *given, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(executors, "run_point", stopped)
    part = effbench.run_sweep(prune=[0.5, 0.6, 0.9], progress=False, **keys)
    assert not part.runs["refined"].any() and part.n_missing >= 1


@pytest.mark.extended
def test_interrupted_before_anything_was_done_it_says_so(folder, monkeypatch):
    monkeypatch.setattr(
        "effbench.run.executors.run_point", lambda *given, **options: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    part = effbench.run_sweep(prune=0.5, progress=False, **QUICK)
    assert (part.n_missing, len(part.runs), len(part.front())) == (2, 0, 0)
    assert part.saturation().point is None and "no run is finished" in part.saturation().reason
    assert "interrupted" in str(part) and "interrupted" in part.report()
    with pytest.raises(ValueError, match="no run is finished yet"):
        part.plot()


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"prnue": 0.5}, "prnue: there is no such key; did you mean prune?"),
        ({"prune": 2}, "prune=2"),
        ({"model": "lenet_6"}, "model=lenet_6: there is no such choice; did you mean model=lenet_5?"),
        ({"dry_run": True}, "effbench.plan_sweep"),
        ({"model": nn.Linear(3, 2), "prune": 0.5}, "Linear"),
        ({"model": nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), "alpha": 0.5}, "does not read alpha"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_starts(folder, keywords, message):
    with pytest.raises(ValueError) as caught:
        effbench.run_sweep(progress=False, **keywords)
    assert message in str(caught.value) and len(str(caught.value).splitlines()) == 1
    assert not (folder / ".effbench" / "entries" / "sweeps").exists()


@pytest.mark.extended
def test_what_the_program_had_set_is_left_alone(folder):
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(2)
    try:
        effbench.run_sweep(prune=0.5, progress=False, **QUICK)
        assert torch.get_num_threads() == 2 and torch.equal(torch.get_rng_state(), state)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.extended
def test_within_a_run_of_ones_own_it_is_a_child_and_what_is_set_stays_so(folder, swept, empty_database, monkeypatch):
    import mlflow

    monkeypatch.setattr("mlflow.tracking.fluent._active_experiment_id", None)
    shutil.copy(empty_database, folder / "mine.db")
    keys = {"store": {"root": swept._store.root}, "train": {"epochs": 2, "fraction": 0.3}, "finetune": {"epochs": 1}}
    try:
        mlflow.set_tracking_uri(f"sqlite:///{folder / 'mine.db'}")
        mlflow.pytorch.autolog()
        with mlflow.start_run() as run:
            effbench.run_sweep(
                model="lenet_300_100", prune=[0.9], tolerance=0.05, measure={"seconds": 0.01}, progress=False, **keys
            )
            assert mlflow.active_run().info.run_id == run.info.run_id
            assert mlflow.get_tracking_uri() == f"sqlite:///{folder / 'mine.db'}"
        client = mlflow.MlflowClient()
        (own,) = client.search_runs(["0"])
        assert (own.data.params, own.data.metrics, own.info.status) == ({}, {}, "FINISHED")
        runs = client.search_runs([client.get_experiment_by_name("effbench").experiment_id])
        (parent,) = [run for run in runs if "effbench.run_key" not in run.data.tags]
        assert parent.data.tags["mlflow.parentRunId"] == own.info.run_id
        assert len(runs) == 1 + 2
        frame = effbench.load_runs()  # of the database that mlflow was told of
        for child in set(frame["run_id"]):  # computed by the other sweep, before this one began
            info = client.get_run(child).info
            seconds = frame.set_index("run_id").loc[child, "train_seconds"]
            assert 1000 * seconds - 1 <= info.end_time - info.start_time
            assert info.end_time < parent.info.start_time
    finally:
        mlflow.pytorch.autolog(disable=True)
