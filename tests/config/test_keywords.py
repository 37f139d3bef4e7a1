"""Keywords of Python as the arguments of a command line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from effbench.config.command_line import read_command_line
from effbench.config.hydra_keys import environment_kept
from effbench.config.keywords import arguments_of
from effbench.config.overrides import parse, values_of
from effbench.config.recipe_checks import layer_name


@pytest.mark.parametrize(
    ("keywords", "arguments"),
    [
        ({"prune": 0.5}, ["prune=0.5"]),
        ({"prune": [0.1, 0.9], "bits": (8, 4)}, ["prune=0.1,0.9", "bits=8,4"]),
        ({"prune": np.array([0.25, 0.5]), "bits": np.int64(4)}, ["prune=0.25,0.5", "bits=4"]),
        ({"prune": torch.tensor([0.25, 0.5]), "seed": range(3)}, ["prune=0.25,0.5", "seed=0,1,2"]),
        ({"model": ["lenet_5", "small_cnn"]}, ["model=lenet_5,small_cnn"]),
        ({"train": {"epochs": 3, "lr": [1e-3, 3e-3]}}, ["train.epochs=3", "train.lr=0.001,0.003"]),
        ({"train__epochs": 3, "measure__batch": [1, 8]}, ["train.epochs=3", "measure.batch=1,8"]),
        ({"train.epochs": 3}, ["train.epochs=3"]),
        ({"figure": {"format": ["svg", "pdf"]}}, ["figure.format=svg,pdf"]),
        ({"figure": {"format": "svg"}}, ["figure.format=svg"]),
        ({"model": {"channels": [8, 16]}}, ["model.channels=[8,16]"]),
        ({"model": {"channels": [[8, 16], [8, 8]]}}, ["model.channels=[8,16],[8,8]"]),
        ({"recipe": {"steps": ["train", ["prune", "finetune"]]}}, ["recipe.steps=[train,[prune,finetune]]"]),
        ({"stage": {"prune": {"criterion": ["magnitude", "random"]}}}, ["stage.prune.criterion=magnitude,random"]),
        ({"stage": {"prune": {"layers": {"conv1": 0.5, "*": "skip"}}}}, ["stage.prune.layers={conv1:0.5,*:skip}"]),
        ({"data": {"root": Path("/a b")}, "tolerance": 0.01}, ["data.root='/a b'", "tolerance=0.01"]),
        ({"tracking": {"uri": None}, "store": {"root": "it's"}}, ["tracking.uri=null", "store.root='it\\'s'"]),
        ({"engine": ["eager"], "coder": ["ans", "context"]}, ["engine=eager", "coder=ans,context"]),
        ({"prune_nm": ["2:4"], "dry_run": True}, ["prune_nm='2:4'", "dry_run=true"]),
        ({"model": {"name": "null", "other": "1e3"}}, ["model.name='null'", "model.other='1e3'"]),
    ],
)
def test_they_say_what_a_command_would(keywords, arguments):
    assert arguments_of(keywords) == arguments


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"prune": []}, "prune=[]: give at least one value"),
        ({"prune": object}, "prune=<class 'object'>: must be a number, a text"),
        ({"train": {"epochs": 1}, "train__epochs": 2}, "train.epochs: is given twice"),
        ({"train": {3: 1}}, "train.3: must be the name of a key"),
        ({"figure": "svg"}, "figure='svg': is a group of keys; give a mapping"),
        ({"finetune": 1}, "finetune=1: is a group of keys; give a mapping"),
        ({"model": None}, "model=None: must be given a value, or left out"),
        ({"prune": np.zeros((2, 2))}, "prune: is a ndarray of 2 dimensions"),
        ({"prune": b"x" * 100}, "prune=a bytes: must be a number"),
        ({"stage": {"prune": {"layers": {"größe": 1}}}}, "'größe': must be ASCII"),
    ],
)
def test_what_no_command_could_say_is_refused(keywords, message):
    with pytest.raises(ValueError) as caught:
        arguments_of(keywords)
    assert message in str(caught.value)


@given(text=st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1))
def test_any_text_arrives_as_it_is(text):
    (override,) = parse(arguments_of({"store": {"root": text}}))
    assert list(values_of(override)) == [text]


NAMES = st.text(st.sampled_from("abcXYZ019.*?_-[]:= "), min_size=1)


@given(layers=st.dictionaries(NAMES.map(str.strip).filter(bool), st.floats(0, 0.9), min_size=1, max_size=3))
def test_names_of_layers_arrive_as_they_are(layers):
    (override,) = parse(arguments_of({"stage": {"prune": {"layers": layers}}}))
    (arrived,) = values_of(override)
    assert {layer_name(name, "stage.prune"): value for name, value in arrived.items()} == layers


@pytest.mark.parametrize("name", ["3", "1.10", "1.0", "0.", "1e3", "007", "1_0", "-1", "true", "Null", "inf", "nan"])
def test_names_that_look_like_something_else_stay_what_they_are(name):
    (override,) = parse(arguments_of({"stage": {"prune": {"layers": {name: 0.5, "*": 0.1}}}}))
    (arrived,) = values_of(override)
    assert [layer_name(key, "stage.prune") for key in arrived] == [name, "*"]


def test_they_compose_like_a_command():
    keywords = {"prune": [0.1, 0.9], "train": {"lr": [1e-3, 3e-3]}, "model": {"channels": [4, 8]}, "seed": [0, 1]}
    command = read_command_line(["+prune=0.1,0.9", "train.lr=1e-3,3e-3", "model.channels=[4,8]", "seed=0,1"])
    called = read_command_line(arguments_of(keywords))
    assert (called.axis_values, called.seeds) == (command.axis_values, command.seeds)
    assert [one.node for one in called.configurations] == [one.node for one in command.configurations]


@pytest.mark.extended
def test_hydras_keys_and_experiments_are_given_like_others(own_folder):
    own_folder({"experiment/mine.yaml": "# @package _global_\nprune: [0.1, 0.5]\n"})
    hydra = {"callbacks": {"mine": {"_target_": "builtins.dict", "a": 1}}, "job": {"env_set": {"MINE_OF_15": "7"}}}
    arguments = arguments_of({"experiment": "mine", "hydra": hydra, "imports": ["json"]})
    with environment_kept():
        command = read_command_line(["-cd", "conf_mine", *arguments])
    assert command.axis_values == {"prune": (0.1, 0.5)}
    assert command.hydra.callbacks == {"mine": {"_target_": "builtins.dict", "a": 1}}
    assert command.hydra.environment == {"MINE_OF_15": "7"}
    assert arguments_of({"hydra__verbose": True, "hydra/launcher": "joblib"}) == [
        "hydra.verbose=true",
        "hydra/launcher=joblib",
    ]
    with pytest.raises(ValueError, match="hydra=3: is a group of keys"):
        arguments_of({"hydra": 3})
