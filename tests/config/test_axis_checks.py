"""The axes of the user's, each way in which one can't be swept; effbench's own are held to the same."""

import pytest

from effbench.config.axis_checks import _check, check_axes, reserved_names
from effbench.config.members import declared_axes
from effbench.config.search_path import Folder, SearchPath, searching

STAGE = {"stage/mine.yaml": "_target_: users_kit.Mine\n"}
WRONG = {
    "hlep: x": "axis.amount.hlep: there is no such key; did you mean axis.amount.help?",
    "help: null": "axis.amount.help=null: must be text",
    "help:": "axis.amount.help: must be given",
    "type: number": "axis.amount.type=number: must be float, int, str or bool",
    "reads: stages": "axis.amount.reads=stages: must be stage, network or data",
    "reads: [stage, network]": "axis.amount.reads=[stage, network]: must be stage, network, data or [network, stage]",
    "reads: [data, stage]": "axis.amount.reads=[data, stage]: must be stage, network, data or [network, stage]",
    "reads: []": "axis.amount.reads=[]: must be stage, network",
    "neutral: configured": "axis.amount.neutral=configured: is for an axis of a network or the data, not of a stage",
    "compresses: sideways": "must be up, down or no order",
    "scale: logarithmic": "axis.amount.scale=logarithmic: must be linear or geometric",
    "order: first": "axis.amount.order=first",
    "moves: size_bytes": "axis.amount.moves=size_bytes: must be a list",
    "moves: [size_byte]": "axis.amount.moves=size_byte: must be among size_bytes",
    "realised: {byte: masked}": "axis.amount.realised=byte: must be among bytes, macs, latency",
    "realised: {bytes: very}": "axis.amount.realised=very: must be among simulated",
    "target: amount": "axis.amount.target=amount: must be <stage>.<field>, as in prune.ratio",
    "target: mne.amount": "axis.amount: mne: there is no such stage; did you mean mine?",
    "phase:": "axis.amount.phase: must be given, as in prune",
    "phase: prone": "axis.amount.phase=prone: there is no such phase; did you mean prune?",
    "phase: train": "axis.amount.phase=train: is a step of every recipe",
    "modifies: prun": "axis.amount.modifies: prun: there is no such axis; did you mean prune?",
    "replaces: {train: nope}": "axis.amount: nope: there is no such stage",
    "neutral: none": "axis.amount.neutral=none: must be a number, as type: float says",
    "neutral: true": "axis.amount.neutral=true",
    "pattern: '['": "axis.amount.pattern=[: is no regular expression",
    "pattern: '[a-z]'": "axis.amount.pattern_words: must be given",
    "example:": "axis.amount.example: must be given",
    "example: 0": "axis.amount.example=0: must have a value at which the axis does something",
    "example: -1": "axis.amount.example=-1: must be a number, at least 0",
    "example: much": "axis.amount.example=much: must be a number, at least 0",
    "example: 'a b: {'": "axis.amount.example=a b: {: must be a number, at least 0",
}


def checked(folder):
    with searching(SearchPath(folders=(Folder(folder, folder.name),))):
        check_axes()


@pytest.mark.parametrize("change", WRONG)
def test_what_can_not_be_swept_is_refused_with_its_file_and_key(own_folder, axis_yaml, change):
    key, _, value = change.partition(":")
    folder = own_folder({**STAGE, "axis/amount.yaml": axis_yaml(**{key: value.strip() or None})})
    with pytest.raises(ValueError) as caught:
        checked(folder)
    assert str(caught.value).startswith("conf_mine/axis/amount.yaml: ")
    assert WRONG[change] in str(caught.value)


GOOD = [
    {},
    {"phase": "mine"},
    {"phase": "one_anew"},
    {"target": "prune.criterion", "modifies": "prune", "type": "str", "neutral": "magnitude", "minimum": None}
    | {"choices": "[magnitude, random]", "example": "random"},
    {"reads": "network", "target": "units", "phase": None, "type": "int", "minimum": 1, "neutral": 16, "example": 4},
    {"reads": "network", "target": "units", "phase": None, "type": "int", "neutral": "configured", "example": 4},
    {"reads": "network", "target": "units", "phase": None, "type": "bool", "minimum": None, "neutral": "true"}
    | {"example": "false"},
    {"reads": "[network, stage]"},
    {"reads": "data", "target": "noise", "phase": None, "moves": "[]", "realised": None},
    {"reads": "data", "target": "side", "phase": None, "minimum": None, "above": 0, "neutral": 1, "example": "0.5"},
]


@pytest.mark.parametrize("changes", GOOD)
def test_what_can_is_not(own_folder, axis_yaml, changes):
    checked(own_folder({**STAGE, "axis/amount.yaml": axis_yaml(**changes)}))


@pytest.mark.parametrize("name", ["seed", "tolerance", "model", "stage", "hydra", "macs", "size_bytes", "point"])
def test_no_axis_is_called_as_a_key_or_a_column(own_folder, axis_yaml, name):
    with pytest.raises(ValueError, match=f"conf_mine/axis/{name}.yaml: {name} is a key or a column"):
        checked(own_folder({**STAGE, f"axis/{name}.yaml": axis_yaml()}))
    assert name in reserved_names()


def test_effbenchs_own_axes_keep_to_it():
    axes = declared_axes()
    for axis in axes.values():
        _check(axis, axes)
