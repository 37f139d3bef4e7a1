"""Points run by a launcher: the same bits, failures that fail their runs alone, objects that go into no file."""

from types import SimpleNamespace

import pytest
import torch

from effbench.config.launcher import run_by_launcher
from effbench.config.read import read_sweep
from effbench.plan.given_networks import give_network
from effbench.run.one import run_point
from effbench.run.outcomes import CannotBegin, RunError
from effbench.run.store import Store

CPU = torch.device("cpu")
TINY = ["model.channels=[4,4]", "data.side=8", "train.epochs=1", "finetune.epochs=0", "train.fraction=0.1"]


class Recorder:
    """An observer that remembers."""

    def __init__(self):
        self.told = []
        self.began = {}

    def run_began(self, point, seconds):
        self.began[point.key] = seconds

    def run_started(self, point):
        self.told.append(("started", point.label))

    def step(self, point, step, done, total): ...

    def epoch_ended(self, point, row): ...

    def run_computed(self, point):
        self.told.append(("computed", point.label))


@pytest.fixture
def points():
    return read_sweep([*TINY, "prune=0.5,0.97", "prune_granularity=row"]).plan.points


def test_results_are_those_of_this_process_and_a_failure_is_a_result(tmp_path, points, monkeypatch):
    monkeypatch.chdir(tmp_path)
    observer = Recorder()
    store = Store(tmp_path / "launched")
    ended = {p.label: outcome for p, outcome in run_by_launcher(points, store, CPU, observer, overrides=())}
    failed = ended.pop("prune=0.97, prune_granularity=row")
    assert isinstance(failed, RunError)
    assert failed.summary.startswith("ValueError: ratio=0.97: must be at most")
    for point in points:
        if point.label in ended:
            here = run_point(point, Store(tmp_path / "here"), device=CPU)
            assert ended[point.label].blob == here.blob
    assert all(outcome.times.began <= outcome.times.ended for outcome in (failed, *ended.values()))
    assert observer.told[:2] == [("started", "reference"), ("computed", "reference")]
    assert len(observer.told) == 2 * len(points)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "launched"]


def test_of_five_runs_the_second_and_the_fourth_fail(tmp_path, monkeypatch):
    """Hydra would show the first failure alone, and lose the results of the others."""
    monkeypatch.chdir(tmp_path)
    points = read_sweep([*TINY, "prune=0.2,0.97,0.5,0.98", "prune_granularity=row"]).plan.points
    runs = run_by_launcher(points, Store(tmp_path / "s"), CPU, Recorder(), overrides=())
    ended = {point.label: outcome for point, outcome in runs}
    failed = {label: outcome.summary for label, outcome in ended.items() if isinstance(outcome, RunError)}
    assert len(ended) == 5 and set(failed) == {f"prune={share}, prune_granularity=row" for share in (0.97, 0.98)}
    assert all(summary.startswith("ValueError: ratio=0.9") for summary in failed.values())


def test_objects_from_python_are_not_written_into_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("effbench.config.launcher_options.find_spec", lambda name: SimpleNamespace(origin="there"))
    name = give_network(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)))
    points = read_sweep([f"model._target_='{name}'", "data.side=8", "prune=0.5"]).plan.points
    with pytest.raises(CannotBegin, match=r"^Sequential: submitit would write what Python gives into files, as code; "):
        run_by_launcher(points, Store(tmp_path / "s"), CPU, Recorder(), overrides=["hydra/launcher=submitit_local"])


@pytest.mark.waiting
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_run_that_takes_too_long_is_ended_in_its_job(tmp_path, points, monkeypatch, launcher):
    monkeypatch.chdir(tmp_path)
    options = {"overrides": [f"hydra/launcher={launcher}"]}
    runs = run_by_launcher(points[:1], Store(tmp_path / "s"), CPU, Recorder(), timeout=0.01, **options)
    ((_, outcome),) = runs
    assert outcome.summary == "took longer than sweep.timeout=0.01 seconds; its process was ended"
    ((_, outcome),) = run_by_launcher(points[:1], Store(tmp_path / "s"), CPU, Recorder(), timeout=60, **options)
    assert outcome.metrics["accuracy"] > 0


def test_jobs_that_were_ended_by_ctrl_c_are_no_failures(tmp_path, points, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("effbench.run.launched.check", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(run_by_launcher(points[:1], Store(tmp_path / "s"), CPU, Recorder(), overrides=()))
