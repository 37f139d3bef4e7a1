"""Hints are tried out on the networks of every point before anything starts."""

import pytest

from effbench.config.command_line import read_command_line
from effbench.config.points import plan_of

COMMAND = ["distill=0.5", "recipe=distill", "train.epochs=4", "train.precision=float32", "data.side=14"]


def plan(*arguments):
    return plan_of(read_command_line([*COMMAND, *arguments]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stage.distill.hints=features.relu9:features.relu2"], "there is no module features.relu9 in the student; "),
        (["stage.distill.hints=features.relu2:features.relu9"], "there is no module features.relu9 in the teacher; "),
        (
            ["stage.distill.hints=features.relu2:conv9", "stage.distill.teacher=lenet_5"],
            "no module conv9 in the teacher; there are conv1, pool1, conv2, pool2, flatten, fc1, relu1, classifier",
        ),
        (
            ["stage.distill.hints=classifier:conv2", "stage.distill.teacher=lenet_5"],
            "stage.distill.hints=classifier:conv2: the student's (10,) can't be regressed to the teacher's (50, 1, 1)",
        ),
        (
            ["stage.distill.hints=features.relu9:features.relu2", "alpha=0.5"],
            "alpha=0.5, distill=0.5: stage.distill.hints: there is no module",
        ),
    ],
)
def test_layers_that_are_not_there_or_can_not_meet(arguments, message):
    with pytest.raises(ValueError) as refusal:
        plan(*arguments)
    assert message.partition(": stage")[2] in str(refusal.value) and "\n" not in str(refusal.value)
    if not message.startswith("alpha"):
        assert message in str(refusal.value)


def test_layers_that_can_meet():
    plan(
        "stage.distill.hints=features.relu2:pool1+classifier:classifier", "stage.distill.teacher=lenet_5", "alpha=0.5,1"
    )
    plan("stage.distill.hints=features.relu2:features.relu4")
