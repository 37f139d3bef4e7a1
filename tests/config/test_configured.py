"""Axes as one configuration has them: what its own settings make neutral, and who reads an axis of several readers."""

import pytest

from effbench.config.axis import Axis
from effbench.config.configured import axes_of
from effbench.config.read import read_sweep

CODE = """
from torch import nn

def net(*, width=6, sizes=(3, 2), gated=True, form=None, prune_by="none", num_classes=10, in_channels=1, input_side=28):
    inputs = in_channels * input_side**2
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, width, bias=gated), nn.Linear(width, num_classes))
"""
WIDTH = {"reads": "network", "target": "width", "type": "int", "minimum": 1, "phase": None, "neutral": "configured"}
SIZES = {**WIDTH, "target": "sizes", "type": "str", "minimum": None, "pattern": r"'\d+(-\d+)*'", "example": "4-3,8"}
AXES = {
    "width": {**WIDTH, "example": '"4,8"'},
    "sizes": {**SIZES, "pattern_words": "numbers such as 4-3"},
    "gated": {**WIDTH, "target": "gated", "type": "bool", "minimum": None, "example": '"true,false"'},
    "form": {**WIDTH, "target": "form", "type": "str", "minimum": None, "choices": "[round]", "example": "round"},
    "prune_by": {"reads": "[network, stage]", "target": "prune.criterion", "type": "str", "neutral": "none"}
    | {"minimum": None, "choices": "[none, random]", "example": "random", "phase": "prune", "modifies": "prune"},
}


@pytest.fixture(autouse=True)
def _own(own_folder, axis_yaml, monkeypatch, tmp_path):
    """A network with settings of its own, and axes over them."""
    (tmp_path / "nets_with_settings.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    own_folder({f"axis/{name}.yaml": axis_yaml(**changes) for name, changes in AXES.items()})


def plan(command, model="nets_with_settings:net"):
    return read_sweep(["-cd", "conf_mine", f"model={model}", *command.split()]).plan


def options(planned):
    return [point.chain.network.options for point in planned.points]


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(
    ("command", "neutral", "point"),
    [
        ("width=3", ("width", 6), {"width": 3}),
        ("model.width=9 width=3", ("width", 9), {"width": 3}),
        ("sizes=8", ("sizes", "3-2"), {"sizes": "8"}),
        ("model.sizes=[5,4] sizes=[8,7]", ("sizes", "5-4"), {"sizes": "8-7"}),
        ("gated=false", ("gated", "true"), {"gated": False}),
        ("model.gated=false gated=true", ("gated", "false"), {"gated": True}),
    ],
)
def test_the_reference_is_what_the_network_is_configured_with(command, neutral, point):
    planned = plan(command)
    name, value = neutral
    assert planned.points[0].axes == {name: value}
    assert planned.points[0].is_reference
    assert planned.points[1].chain.network.options == {**planned.points[0].chain.network.options, **point}


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("command", ["width=6,3", "model.width=9 width=9,3", "sizes=3-2,8", "gated=true,false,true"])
def test_the_configured_value_is_the_reference_where_it_is_swept_too(command):
    planned = plan(command)
    assert len(planned.points) == 2
    assert planned.points[0].key == plan(command.split(" ")[0] if command.startswith("model") else "").points[0].key


@pytest.mark.extended
def test_each_network_of_a_sweep_has_its_own():
    planned = plan("width=6,9 model.width=6,9")
    neutral = [(point.swept["model.width"], point.axes["width"]) for point in planned.points if point.is_reference]
    assert neutral == [("6", 6), ("9", 9)]
    assert len({planned.reference_of(point).key for point in planned.points}) == 2


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("form=round", r"^form=round: \S+ has no form of its own to compare with; give model\.form, which is then"),
        ("width=0", r"^width=0: must be a whole number, at least 1; for example width=4,8$"),
        ("gated=maybe", r"^gated=maybe: must be true or false; for example gated=true,false$"),
        ("gated=1", r"^gated=1: must be true or false"),
        ("sizes=8-", r"^sizes=8-: must be , or numbers such as 4-3"),
    ],
)
def test_what_has_nothing_to_compare_with_is_refused_and_so_is_what_is_no_value(command, message):
    with pytest.raises(ValueError, match=message):
        plan(command)


@pytest.mark.extended
def test_a_network_without_the_setting_is_refused_by_name():
    with pytest.raises(ValueError, match=r"^width=3: the network \S*lenet_5 does not read width"):
        plan("width=3", model="lenet_5")


@pytest.mark.extended
def test_of_several_readers_the_first_that_can_takes_it():
    assert options(plan("prune_by=random")) == [{}, {"prune_by": "random"}]
    with pytest.raises(ValueError, match=r"^prune_by=random: changes what prune does, so give that too"):
        plan("prune_by=random", model="small_cnn")
    steps = plan("prune=0.5 prune_by=random", model="small_cnn").points[-1].chain.plain_steps
    assert [step.stage.criterion for step in steps if step.name == "prune"] == ["random"]


def test_an_axis_that_nothing_reads_here_stays_as_it_was_declared():
    knob = Axis(name="knob", help="", type="int", neutral="configured", reads="network", target="knob", example="1")
    node = {"model": {"_target_": "nets_with_settings.net"}, "data": {"_target_": "effbench.data.digits.digits"}}
    assert axes_of(node, {"knob": knob}) == {"knob": knob}
