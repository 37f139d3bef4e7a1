"""Networks that teach, by their names and with weights: what they are, and that they fit the data."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from effbench.config.command_line import read_command_line
from effbench.config.members import members
from effbench.config.points import plan_of
from effbench.config.teacher_networks import teacher_network
from effbench.models import lenet_5
from effbench.plan.blueprint import Blueprint
from effbench.run.making import make_model
from effbench.run.store import Store

DATA = Blueprint("effbench.data.digits.digits", {"side": 14, "split_seed": 0})
COMMAND = ["distill=0.5", "recipe=distill", "train.epochs=1", "train.fraction=0.05", "train.precision=float32"]
COMMAND += ["data.side=14", "model.channels=[4,4]"]


def own(num_classes=10, in_channels=1):
    return nn.Sequential(nn.Flatten(), nn.Linear(196 * in_channels, num_classes))


@pytest.fixture(autouse=True)
def targets(monkeypatch):
    monkeypatch.setitem(sys.modules, "own_teachers", SimpleNamespace(own=own))


@pytest.fixture
def weights(tmp_path):
    torch.save(lenet_5(input_side=14).state_dict(), tmp_path / "lenet.pth")
    torch.save({"model": own().state_dict()}, tmp_path / "own.pth")
    torch.save(lenet_5(input_side=14, num_classes=7).state_dict(), tmp_path / "seven.pth")
    return tmp_path


def taught(*arguments):
    return plan_of(read_command_line([*COMMAND, *arguments])).points[-1]


def teacher_of(point):
    return next(step.teacher for step in point.chain.plain_steps if step.teacher is not None)


@pytest.mark.parametrize(
    ("text", "target", "options", "comes_trained"),
    [
        ("lenet_5", "effbench.models.lenet_5", {"activation": "none"}, False),
        ("lenet_5:{}/lenet.pth", "effbench.models.lenet_5", {"weights": "{}/lenet.pth"}, True),
        ("resnet18", "effbench.models.torchvision_model", {"name": "resnet18", "weights": "none"}, False),
        ("resnet18:a.pth", "effbench.models.torchvision_model", {"name": "resnet18", "weights": "a.pth"}, True),
        ("torchvision:resnet18:DEFAULT", "effbench.models.torchvision_model", {"weights": "DEFAULT"}, True),
        ("timm:resnet10t", "effbench.models.timm_model", {"name": "resnet10t"}, False),
        ("timm:resnet10t:a.pth", "effbench.models.timm_model", {"weights": "a.pth"}, True),
        ("own_teachers:own", "own_teachers.own", {}, False),
        ("own_teachers:own:{}/own.pth", "own_teachers.own", {"weights": "{}/own.pth"}, True),
    ],
)
def test_names(weights, monkeypatch, text, target, options, comes_trained):
    monkeypatch.setattr("effbench.config.pretrained.timm_facts", lambda name: SimpleNamespace(classes=()))
    found = teacher_network(text.format(weights), DATA, known=members("model"))
    assert found.network.target == target and found.comes_trained == comes_trained
    written = {name: value.format(weights) if isinstance(value, str) else value for name, value in options.items()}
    assert written.items() <= found.network.options.items()


@pytest.mark.parametrize("text", ["best.pth", "reference", "wide", "no_such_network", "folder/best.pth"])
def test_what_is_no_network(text):
    assert teacher_network(text, DATA, known=members("model")) is None


@pytest.mark.extended
def test_one_with_weights_teaches_as_it_is_the_same_for_every_seed(weights, tmp_path):
    arguments = [f"stage.distill.teacher=lenet_5:{weights}/lenet.pth"]
    teachers = [teacher_of(taught(*arguments, f"seed={seed}")) for seed in (0, 1)]
    assert teachers[0].steps == () and teachers[0].key == teachers[1].key
    network = make_model(teachers[0], Store(tmp_path / "store"), device=torch.device("cpu")).model
    state = torch.load(weights / "lenet.pth")
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    torch.save(lenet_5(input_side=14).state_dict(), weights / "lenet.pth")
    assert teacher_of(taught(*arguments)).key != teachers[0].key


@pytest.mark.extended
def test_it_is_trained_on_where_that_is_asked_for(weights):
    arguments = [f"stage.distill.teacher=lenet_5:{weights}/seven.pth", "stage.distill.teacher_epochs=2"]
    teacher = teacher_of(taught(*arguments))
    assert [step.stage.epochs for step in teacher.steps] == [2]
    plain = teacher_of(taught("stage.distill.teacher=own_teachers:own", "stage.distill.teacher_epochs=0"))
    assert plain.steps == ()


def test_a_student_learns_from_a_network_of_a_users(weights, tmp_path):
    point = taught(f"stage.distill.teacher=own_teachers:own:{weights}/own.pth")
    model = make_model(point.chain, Store(tmp_path / "store"), device=torch.device("cpu")).model
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (
            "lenet_5:{}/seven.pth",
            "its weights are not for the 10 classes of the data: classifier.weight, classifier.bias",
        ),
        ("lenet_5:{}/own.pth", "does not fit Sequential: "),
        ("lenet_5:{}/none.pth", "there is no file"),
        ("resnet19:{}/own.pth", "there is no network resnet19; did you mean resnet18?"),
        ("own_teachers:other", "_target_=own_teachers.other: can't be imported"),
        ("nothing", "must be reference, wide, a network ("),
    ],
)
def test_what_can_not_teach_is_refused_before_anything_runs(weights, teacher, message):
    with pytest.raises(ValueError) as refusal:
        taught(f"stage.distill.teacher={teacher.format(weights)}")
    assert message in str(refusal.value) and "\n" not in str(refusal.value)
    assert str(refusal.value).startswith(("stage.distill.teacher=", "distill=0.5: "))
