"""What a configuration leaves to its data, its network and the machine."""

import pytest
import torch

from effbench.config.command_line import read_command_line
from effbench.config.resolve import engine_blueprints, resolved, task_blueprint
from effbench.plan.blueprint import Blueprint


def node(*arguments):
    return read_command_line(arguments).configurations[0].node


@pytest.mark.extended
def test_epochs_are_those_that_suit_the_data():
    suited = node("data=mnist")["data"]["epochs"]
    given = {**node(), "data": {**node()["data"], "epochs": suited}}
    config = resolved(given)
    assert (config["train"]["epochs"], config["finetune"]["epochs"]) == (suited["train"], suited["finetune"])
    without = {**given, "data": {**given["data"], "epochs": None}}
    assert (resolved(without)["train"]["epochs"], resolved(without)["finetune"]["epochs"]) == (10, 3)


def test_epochs_that_are_given_stay_zero_too():
    config = resolved(node("train.epochs=0", "finetune.epochs=7"))
    assert (config["train"]["epochs"], config["finetune"]["epochs"]) == (0, 7)
    assert config["stage"]["train"]["epochs"] == 0
    assert config["stage"]["finetune"]["epochs"] == 7


def test_a_network_that_comes_trained_is_not_trained(tmp_path):
    weights = ["model=torchvision", "model.name=squeezenet1_1", "train.precision=float32"]
    config = resolved(node(*weights, "model.weights=default"))
    assert (config["train"]["epochs"], config["finetune"]["epochs"]) == (0, 0)
    assert resolved(node(*weights))["train"]["epochs"] > 0


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_the_precision_is_what_the_machine_is_fast_in(monkeypatch, has_bfloat16):
    monkeypatch.setattr("effbench.training.precision._capabilities", lambda: {"avx512_bf16": has_bfloat16})
    suited = "bfloat16" if has_bfloat16 else "float32"
    assert resolved(node())["train"]["precision"] == suited
    assert resolved(node("train.precision=float32"))["train"]["precision"] == "float32"
    assert resolved(node())["stage"]["train"]["precision"] == suited


def test_what_can_not_be_resolved_is_named():
    with pytest.raises(ValueError, match=r"^train\.precision=int8: must be auto, float32, bfloat16, float16$"):
        resolved(node("train.precision=int8"))
    with pytest.raises(ValueError, match=r"^data\.root: must be given, as in data\.root=…$"):
        resolved(node("data=image_folder"))


def test_nothing_is_left_to_be_filled_in_and_engines_are_left_out():
    config = resolved(node())
    assert "engines" not in config
    assert "${" not in str(config)


def test_engines_have_the_device_that_training_has_unless_their_option_says_another():
    assert engine_blueprints(node("device=cpu"), ("eager",)) == {
        "eager": Blueprint("effbench.measure.engines.eager.EagerEngine", {"device": "cpu"})
    }
    automatic = engine_blueprints(node(), ("eager",))["eager"].options["device"]
    assert torch.device(automatic).type in ("cpu", "cuda", "mps")
    own = engine_blueprints(node("device=auto", "engine.eager.device=cpu"), ("eager",))
    assert own["eager"].options["device"] == "cpu"
    assert engine_blueprints(node(), ()) == {}


def test_an_engine_on_a_device_that_is_not_there_is_refused_before_anything_starts():
    with pytest.raises(ValueError, match=r"^engine\.eager\.device=cuda:99: this machine has \d+ CUDA devices"):
        engine_blueprints(node("engine.eager.device=cuda:99"), ("eager",))


def test_a_task_is_its_target_without_the_network_and_the_data_it_brings():
    assert task_blueprint(node()["task"]) == Blueprint("effbench.tasks.classification.Classification", {})
