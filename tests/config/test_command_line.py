"""What a command line becomes: axis values, seeds, swept keys, configurations."""

import pytest

from effbench.config.command_line import read_command_line
from effbench.config.members import declared_axes, members
from effbench.config.search_path import conf_folder


@pytest.mark.parametrize("prefix", ["", "+", "++"])
def test_an_axis_needs_no_plus_and_bears_any(prefix):
    command = read_command_line([f"{prefix}prune=0.1,0.5,0.1"])
    assert command.axis_values == {"prune": (0.1, 0.5)}
    assert len(command.configurations) == 1


@pytest.mark.parametrize("prefix", ["", "+", "++"])
def test_so_do_the_other_keys(prefix):
    (composed,) = read_command_line([f"{prefix}train.epochs=3", f"{prefix}model.kernel=5"]).configurations
    assert composed.node["train"]["epochs"] == 3
    assert composed.node["model"]["kernel"] == 5
    assert composed.swept == {}


@pytest.mark.parametrize("text", ["seed=0,1,2", "+seed=0,1,2", "seed=[0,1,2]", "seed=range(3)", "seed=2,0,1,0"])
def test_every_way_to_write_seeds(text):
    assert sorted(read_command_line([text]).seeds) == [0, 1, 2]


def test_a_range_gives_the_numbers_that_one_would_write():
    assert read_command_line(["prune=range(0.1,0.5,0.1)"]).axis_values == {"prune": (0.1, 0.2, 0.3, 0.4)}


def test_keys_beside_the_axes_multiply_the_configurations():
    command = read_command_line(["model=lenet_5,small_cnn", "train.lr=0.001,0.002", "prune=0.5"])
    swept = [composed.swept for composed in command.configurations]
    assert swept == [
        {"model": model, "train.lr": lr} for model in ("lenet_5", "small_cnn") for lr in ("0.001", "0.002")
    ]


def test_measured_lists_multiply_nothing():
    (composed,) = read_command_line(["measure.batch=1,8", "measure.threads=[1,2]"]).configurations
    assert composed.node["measure"]["batch"] == [1, 8]
    assert composed.node["measure"]["threads"] == [1, 2]


def test_the_networks_options_give_way_to_a_target_of_the_users_own():
    (composed,) = read_command_line(["model._target_=a.b", "model.width=3"]).configurations
    assert composed.node["model"] == {"_target_": "a.b", "width": 3}
    (composed,) = read_command_line(["data._target_=a.b", "data.side=9"]).configurations
    assert composed.node["data"] == {"_target_": "a.b", "side": 9}


WRONG = {
    "engines.eager.device=cpu": "engines.eager.device: there is no such key; did you mean engine.eager.device?",
    "~prune": "can't be taken away",
    "prune=0.1 +prune=0.2": "given already",
    "prune=interval(0,1)": "write the values out",
    "prune=glob(*)": "write the values out",
    "model=glob(nope*)": "model=glob(nope*): stands for nothing; model can be lenet_300_100, lenet_5",
    "prune=[0.1,0.2]": "must be a number",
    "prune=null": "prune=null",
    "prune=true": "must be a number",
    "seed=[]": "at least one",
    "seed=null": "seed=null",
    "seed=1.5": "whole number",
    "measure.batch=[]": "at least one",
    "tolerance=0.01,0.02": "one value",
    "device=cpu,cuda": "one value",
    "tracking.experiment=a,b": "one value",
    "store.root=a,b": "one value",
    "hydra/launcher=nope": "joblib",
    "hydra/launcher=joblib hydra.launcher.nope=2": "hydra.launcher.nope: there is no such key",
    "model@there=lenet_5": "it must be key=value, as in model=lenet_5",
    "=3": "key=value",
    "--multirn": "did you mean --multirun?",
    "--run prune=0.1,0.5": "--run: asks for one run, and 2 are swept",
    "hydra.mode=RUN seed=0,1": "hydra.mode=RUN: asks for one run, and 2 are swept",
    "train={epochs: 3}": "there is no such choice",
    "train={}": "there is no such choice",
    "measure={}": "measure: is a group of keys; give one of them",
    "stage.prune.critereon=random": "did you mean stage.prune.criterion",
    "hydra.run.dir=x": "runs have no folders of their own",
}


@pytest.mark.matrix(fast=9)
@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_command_is_refused(text):
    arguments = text.split(" ") if "{" not in text else [text]
    with pytest.raises(ValueError) as caught:
        read_command_line(arguments)
    message = str(caught.value)
    assert WRONG[text] in message
    assert len(message.splitlines()) == 1


def test_an_empty_command_has_the_defaults():
    command = read_command_line([])
    assert command.axis_values == {}
    assert command.seeds == (0,)
    assert command.engines == ("eager",)
    assert command.launcher == ()
    (composed,) = command.configurations
    assert composed.choices == {
        "task": "classification",
        "model": "small_cnn",
        "data": "digits",
        "recipe": "default",
        "train": "default",
        "tracking": "default",
    }


@pytest.mark.extended
def test_a_task_brings_its_network_and_data_where_none_are_named():
    task = members("task")["segmentation"]
    (composed,) = read_command_line(["task=segmentation"]).configurations
    assert (composed.choices["model"], composed.choices["data"]) == (task["model"], task["data"])
    assert composed.node["model"]["_target_"] == members("model")[task["model"]]["_target_"]
    (named,) = read_command_line(["task=segmentation", "model=lenet_5"]).configurations
    assert (named.choices["model"], named.choices["data"]) == ("lenet_5", task["data"])


def test_options_of_an_engine_go_to_the_engine():
    command = read_command_line(["engine=eager,eager", "engine.eager.device=cpu"])
    assert command.engines == ("eager",)
    assert command.configurations[0].node["engines"]["eager"]["device"] == "cpu"


def test_a_layer_of_a_stage_is_a_key_wherever_its_configuration_says_nothing_of_it():
    (composed,) = read_command_line(["stage.quantize.layers={features.conv1:8,classifier:skip}"]).configurations
    assert composed.node["stage"]["quantize"]["layers"] == {"features.conv1": 8, "classifier": "skip"}


def test_launchers_are_left_to_hydra():
    arguments = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    assert read_command_line(arguments).launcher == tuple(arguments)


def test_members_are_read_as_they_stand():
    assert set(members("axis")) == set(declared_axes())
    assert members("stage")["train"]["epochs"] == "${train.epochs}"
    assert conf_folder().is_dir()
