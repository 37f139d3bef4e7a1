"""The benchmark scripts say what they ask, and still fit the code that they measure. Timing them is `make bench`."""

import importlib.util
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.fixture
def load(monkeypatch):
    """Return what imports a script by its name."""

    def load(name):
        spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.syspath_prepend(FOLDER)  # as where it is run
        monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
        spec.loader.exec_module(module)
        return module

    return load


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_can_be_imported_and_says_what_it_asks(load, name):
    module = load(name)
    assert callable(module.main)
    for word in ("Question:", f"Command: python benchmarks/{name}.py", "Cost:", "Expected:"):
        assert word in module.__doc__


@pytest.mark.extended
def test_the_hand_written_sweep_prunes_finetunes_and_tests_every_point(load):
    sweep = load("sweep")
    task = sweep.Task(ratios=(0.5,), seeds=(0,), epochs=1, finetune_epochs=1, fraction=0.02)
    _, accuracies = sweep.run_script(task, from_scratch=False)
    assert accuracies.keys() == {0.0, 0.5}
    assert all(0 <= value <= 1 for values in accuracies.values() for value in values)


def test_plain_and_effbench_loops_train_alike(load, toy_data, monkeypatch):
    step = load("training_step")
    monkeypatch.setitem(step.NETWORKS, "lenet_300_100", lambda: step.lenet_300_100(num_classes=4, input_side=8))
    tallies = step.measure("lenet_300_100", toy_data, seeds=1, epochs=4)
    assert list(tallies) == ["plain", "layout", "float32", "bfloat16"]
    assert min(tally.accuracy[0] for tally in tallies.values()) > 0.9


@pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*", "ignore::DeprecationWarning:sqlalchemy.*")
def test_copied_runs_are_read_as_runs_of_their_own(load, empty_database, tmp_path):
    import effbench
    from effbench.tracking.tracker import RunRecord
    from effbench.tracking.write import MlflowTracker

    script, path = load("load_runs"), tmp_path / "mlflow.db"
    path.write_bytes(empty_database.read_bytes())
    tracker = MlflowTracker(f"sqlite:///{path}", "effbench")
    tracker.open_sweep("0123456789ab", name="a sweep", params={}, tags={})
    for key in "ab":
        record = RunRecord(name=key, key=key, params={"seed": 0}, tags={"effbench.point": key}, metrics={"loss": 2.0})
        tracker.log_run(record, status="FINISHED")
    script.fill(path, 40)
    runs = effbench.load_runs(tracking_uri=f"sqlite:///{path}")
    assert len(runs) == runs["run_id"].nunique() == runs["point"].nunique() == runs["loss"].nunique() + 1 == 40
    assert runs["sweep"].nunique() == script.N_SWEEPS  # the first of them is the one that was copied


def test_a_bisection_looks_at_both_ends_and_then_at_middles(load):
    script = load("refine")
    assert script.n_bisected([True] * 10 + [False] * 9) == 6
    assert script.n_bisected([True] * 9) == script.n_bisected([False] * 9) == 2
    assert [script.between([1, 2, 3, 4], (2, 3), cost) for cost in (1, 1.5, 3.5, 4)] == [False, True, True, False]
    for full, coarse in script.GRIDS.values():
        assert set(coarse) <= set(full) and 14 <= len(full) <= 19
