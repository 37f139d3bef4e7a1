"""Hydra's callbacks: told of a sweep and each of its runs, in Hydra's order, from wherever they are named."""

import warnings

import pytest

from effbench.config.callbacks import telling
from effbench.config.read import read_sweep
from effbench.run.executors import run_here
from effbench.run.outcomes import RunError

CODE = """
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback

told = []

class Mine(Callback):
    def __init__(self, note="x"):
        self.note = note
    def on_multirun_start(self, config, **kwargs):
        told.append(("start", self.note, config.prune, config.tolerance, str(config.hydra.mode)))
    def on_multirun_end(self, config, **kwargs):
        told.append(("end", self.note))
    def on_job_start(self, config, *, task_function, **kwargs):
        assert callable(task_function) and HydraConfig.get().job.num == config.hydra.job.num
        told.append(("job", config.hydra.job.num, config.prune, config.seed, config.train.epochs))
    def on_job_end(self, config, job_return, **kwargs):
        value = None if job_return.status.name == "FAILED" else job_return.return_value["accuracy"]
        told.append(("done", config.prune, job_return.status.name, value, list(job_return.overrides)))

class Raises(Callback):
    def on_job_start(self, **kwargs):
        raise KeyError("mine")

class CantBeMade:
    def __init__(self):
        raise KeyError("no")
"""
ASKED = ["prune=0.5", "train.epochs=0", "finetune.epochs=0", "tolerance=0.1"]


class Result:
    def __init__(self):
        self.metrics = {"accuracy": 0.5}


@pytest.fixture
def told(tmp_path, monkeypatch):
    """Return what the callbacks of the module `told_of_15` were told."""
    (tmp_path / "told_of_15.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    import told_of_15

    return told_of_15.told


class Observer:
    def run_started(self, point):
        pass

    def step(self, *_):
        pass

    run_began = epoch_ended = run_computed = step


def run(sweep, fails=()):
    """Run a sweep's points for show: the reference is one that was kept, of which nothing is told as it begins."""

    def execute(points, store, device, observer):
        for point in points:
            if not point.is_reference:
                observer.run_started(point)
            yield point, RunError("no", "no") if str(point.axes["prune"]) in fails else Result()

    with telling(sweep.callbacks, execute) as executor:
        return list(executor(sweep.plan.points, None, sweep.device, Observer()))


WRITTEN = {
    "the command": ["+hydra.callbacks.m._target_=told_of_15.Mine", "+hydra.callbacks.m.note=x"],
    "one value": ["hydra.callbacks={m:{_target_:told_of_15.Mine}}"],
    "a file of defaults": ["-cd", "conf_mine", "-cn", "mine"],
    "an experiment": ["-cd", "conf_mine", "+experiment=told"],
    "a group": ["-cd", "conf_mine", "hydra/callbacks=mine"],
}


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("place", WRITTEN)
def test_all_are_told_in_hydras_order_wherever_they_are_named(told, own_folder, place):
    node = "callbacks: {m: {_target_: told_of_15.Mine}}"
    own_folder(
        {
            "mine.yaml": f"defaults: [config, _self_]\nhydra: {{{node}}}\n",
            "experiment/told.yaml": f"# @package _global_\nhydra: {{{node}}}\n",
            "hydra/callbacks/mine.yaml": "m: {_target_: told_of_15.Mine}\n",
        }
    )
    told.clear()
    run(read_sweep([*WRITTEN[place], *ASKED]), fails=["0.5"])
    assert told == [
        ("start", "x", 0.5, 0.1, "RunMode.MULTIRUN"),
        ("job", 0, 0, 0, 0),
        ("done", 0, "COMPLETED", 0.5, ["prune=0", "seed=0"]),
        ("job", 1, 0.5, 0, 0),
        ("done", 0.5, "FAILED", None, ["prune=0.5", "seed=0"]),
        ("end", "x"),
    ]


@pytest.mark.extended
def test_one_that_raises_is_warned_of_and_the_sweep_goes_on(told):
    sweep = read_sweep([*ASKED, "+hydra.callbacks.m._target_=told_of_15.Raises"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(run(sweep)) == 2
    assert {str(warning.message) for warning in caught} == {"Callback Raises.on_job_start raised KeyError: 'mine'"}


@pytest.mark.extended
def test_what_is_interrupted_has_no_end(told):
    sweep = read_sweep([*ASKED, "+hydra.callbacks.m._target_=told_of_15.Mine"])
    told.clear()
    with pytest.raises(KeyboardInterrupt), telling(sweep.callbacks, run_here):
        raise KeyboardInterrupt
    assert [event[0] for event in told] == ["start"]


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("told_of_15.CantBeMade", "hydra.callbacks.m._target_=told_of_15.CantBeMade: can't be made: KeyError: 'no'"),
        ("told_of_15.Nope", "hydra.callbacks.m._target_=told_of_15.Nope: can't be made: ModuleNotFoundError: "),
        (
            "nope_of_15.Mine",
            "hydra.callbacks.m._target_=nope_of_15.Mine: can't be made: ModuleNotFoundError: ",
        ),
    ],
)
def test_one_that_cannot_be_made_is_refused_before_anything_starts(told, target, said):
    with pytest.raises(ValueError) as caught:
        read_sweep([*ASKED, f"+hydra.callbacks.m._target_={target}"])
    assert str(caught.value).startswith(said)
    assert len(str(caught.value).splitlines()) == 1


def test_without_any_nothing_is_there():
    assert read_sweep(ASKED).callbacks == {}
