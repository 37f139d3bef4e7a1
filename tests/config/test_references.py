"""References to the environment and to resolvers of the user's, wherever they stand."""

import pytest
from omegaconf import OmegaConf

import effbench
from effbench.config.command_line import read_command_line
from effbench.config.read import read_sweep
from effbench.config.references import with_whole_sweep_resolved


@pytest.fixture
def resolver():
    OmegaConf.register_new_resolver("half_of_15", lambda value: value / 2)
    OmegaConf.register_new_resolver("some_of_15", lambda: [0.1, 0.5])


def test_what_is_swept_and_chosen_is_resolved_first(resolver, monkeypatch):
    monkeypatch.setenv("MODEL_OF_15", "lenet_5")
    monkeypatch.setenv("SEED_OF_15", "3")
    command = read_command_line(
        ["prune=${half_of_15:0.4},${half_of_15:1.2}", "model=${oc.env:MODEL_OF_15}", "seed=${oc.env:SEED_OF_15}"]
    )
    assert command.axis_values == {"prune": (0.2, 0.6)}
    assert command.configurations[0].choices["model"] == "lenet_5"
    assert command.seeds == (3,)
    assert read_command_line(["prune=${some_of_15:}"]).axis_values == {"prune": (0.1, 0.5)}
    assert read_command_line(["prune=${oc.env:NOT_THERE_OF_15,0.3}"]).axis_values == {"prune": (0.3,)}
    assert read_command_line(["prune=${tolerance}"]).axis_values == {"prune": (0.02,)}


def test_so_is_what_is_the_whole_sweeps_and_every_option(resolver, monkeypatch):
    monkeypatch.setenv("URI_OF_15", "sqlite:///there.db")
    monkeypatch.setenv("TOLERANCE_OF_15", "0.05")
    sweep = read_sweep(
        [
            *("tracking.uri=${oc.env:URI_OF_15}", "tolerance=${oc.env:TOLERANCE_OF_15}", "train.lr=${half_of_15:0.1}"),
            *("store.root=${oc.env:NOPE_OF_15,.kept}", "measure.seconds=${half_of_15:1}", "finetune.lr=${train.lr}"),
        ]
    )
    assert (sweep.tracking.uri, sweep.tolerance, sweep.store.root) == ("sqlite:///there.db", 0.05, ".kept")
    assert sweep.measure.seconds == 0.5
    config = sweep.plan.points[0].config
    assert config["train"]["lr"] == config["finetune"]["lr"] == 0.05


def test_from_python_resolvers_are_those_that_the_program_registered(resolver):
    assert effbench.plan_sweep(prune="${half_of_15:0.4}").runs["prune"].tolist() == [0.0, 0.2]


WRONG = {
    "prune=${oc.env:NOPE_OF_15}": "Environment variable 'NOPE_OF_15' not found",
    "prune=${nope:3}": "Unsupported interpolation type nope",
    "model=${nope}": "Interpolation key 'nope' not found",
    "tolerance=${oc.env:NOPE_OF_15}": "Environment variable 'NOPE_OF_15' not found",
    "store.root=${nope}": "store.root: ",
    "train.lr=${oc.env:NOPE_OF_15}": "train.lr: ",
    "train.epochs=???": "train.epochs: must be given",
}


@pytest.mark.matrix(fast=3)
@pytest.mark.parametrize("text", WRONG)
def test_one_to_nothing_is_refused_in_a_line(text):
    with pytest.raises(ValueError) as caught:
        read_sweep([text])
    assert WRONG[text] in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_nodes_without_any_stay_what_they_are():
    (composed,) = read_command_line([]).configurations
    assert with_whole_sweep_resolved(composed.node) == composed.node
