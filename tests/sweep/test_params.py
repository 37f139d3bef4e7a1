"""The params of runs: what a person filters by, and every swept key."""

import pytest

from effbench.config.read import read_sweep
from effbench.sweep.params import MAIN, asked_of_the_sweep, run_params, sweep_params

TINY = ["model.channels=[4,4]", "data.side=8", "train.epochs=1", "finetune.epochs=1", "train.fraction=0.3"]
ALWAYS = {"seed", "model", "data", "task", "recipe", "rounds", "side", "eval_side", *MAIN} - {
    "train.optimizer",
    "finetune.optimizer",
}
"""Of every run; an optimiser only where one is named."""


@pytest.fixture(scope="module")
def planned():
    return read_sweep(["+prune=0,0.5", "alpha=0.5,2", "model.kernel=3,5", "stage.prune.criterion=random"])


def test_they_are_the_axes_the_main_options_and_what_was_swept(planned):
    params = run_params(planned.plan.points[-1])
    assert set(params) == {"prune", "alpha", "model.kernel"} | ALWAYS
    named = read_sweep(["prune=0.5", "train.optimizer=sgd"]).plan.points[0]
    assert "optimizer" in " ".join(run_params(named)) and None not in run_params(named).values()
    assert {name: params[name] for name in ("prune", "alpha", "model.kernel", "seed", "train.batch_size")} == {
        "prune": 0.5,
        "alpha": 2.0,
        "model.kernel": 5,
        "seed": 0,
        "train.batch_size": 64,
    }
    assert (params["model"], params["data"], params["task"], params["recipe"], params["rounds"]) == (
        *("small_cnn", "digits", "classification", "default", 1),
    )


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize(
    ("swept", "values"),
    [
        ("train.weight_decay=0.1,0.2", {0.1, 0.2}),
        ("data.split_seed=0,1", {0, 1}),
        ("stage.prune.criterion=random,magnitude", {"random", "magnitude"}),
        ("coder=none,huffman", {"none", "huffman"}),
        ("model=small_cnn,lenet_300_100", {"small_cnn", "lenet_300_100"}),
        ("seed=0,1", {0, 1}),
        ("recipe.rounds=1,2", {1, 2}),
        ("recipe=default,prune_quantize", {"default", "prune_quantize"}),
    ],
)
def test_every_key_that_is_swept_is_one(swept, values):
    options = [] if swept.startswith("model") else TINY
    name = swept.partition("=")[0]
    points = read_sweep([*options, "prune=0.5", swept]).plan.points
    found = {run_params(point).get(name, run_params(point).get(name.rpartition(".")[2])) for point in points}
    assert found == values


def test_the_values_of_single_layers_are_one_param_whatever_their_patterns():
    swept = "stage.prune.layers={features.*:0.2,classifier:skip},{classifier:skip}"
    points = read_sweep([*TINY, "prune=0.5", swept]).plan.points
    found = {run_params(point).get("stage.prune.layers") for point in points if not point.is_reference}
    assert "features.*: 0.2, classifier: skip" in found
    assert not [name for point in points for name in run_params(point) if "*" in name]


def test_the_sweep_has_those_that_its_runs_have_in_common(planned):
    common = sweep_params(planned)
    assert common["train.batch_size"] == 64
    assert not set(common) & {"prune", "alpha", "model.kernel", "tolerance"}
    for point in planned.plan.points:
        assert all(run_params(point)[name] == value for name, value in common.items())


def test_what_was_asked_of_the_whole_sweep_is_no_param():
    asked = asked_of_the_sweep(read_sweep([*TINY, "prune=0.5", "tolerance=0.1", "tracking.uri=http://me:secret123@x"]))
    assert (asked["effbench.tolerance"], asked["effbench.measure.batch"]) == ("0.1", "1")
    assert asked["effbench.tracking.uri"] == "http://me:***@x"
    assert not [name for name in asked if "lr" in name]
