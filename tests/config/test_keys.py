"""Keys of a command: which there are, which can have several values, which choices a group has."""

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra

from effbench.config.command_line import read_command_line
from effbench.config.keys import GROUPS, LISTS_WITHIN, SINGLE, check_choice, check_count, options_of
from effbench.config.overrides import parse
from effbench.config.search_path import conf_folder


@pytest.fixture(autouse=True)
def initialized():
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_folder().resolve()), version_base="1.3"):
        yield


@pytest.mark.parametrize("group", [*GROUPS, "stage", "axis", "engine"])
def test_the_choices_of_a_group_are_its_files(group):
    files = sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))
    assert files
    assert sorted(options_of(group)) == files
    for name in files:
        check_choice(group, name)


@pytest.mark.parametrize(
    ("group", "value", "message"),
    [
        ("model", "lenet5", "model=lenet5: there is no such choice; did you mean model=lenet_5? known: "),
        (
            "data",
            "imagenet",
            "data=imagenet: there is no such choice; did you mean data=image_folder? known: cifar10, ",
        ),
        ("recipe", None, "recipe=null: there is no such choice; known: "),
    ],
)
def test_what_is_no_choice_is_refused_with_the_nearest(group, value, message):
    with pytest.raises(ValueError) as refusal:
        check_choice(group, value)
    assert str(refusal.value).startswith(message)


@pytest.mark.parametrize(
    "key", [name for name in SINGLE if name not in ("measure", "figure", "engines", "sweep", "store")]
)
def test_keys_of_the_whole_sweep_take_one_value(key):
    (override,) = parse([f"{key}=a,b"])
    with pytest.raises(ValueError, match=f"^{key}=a,b: takes one value, for the whole sweep$"):
        check_count(override)
    (one,) = parse([f"{key}=a"])
    check_count(one)


@pytest.mark.parametrize(("key", "example"), [*LISTS_WITHIN.items()])
def test_lists_within_runs_need_an_element(key, example):
    (override,) = parse([f"{key}=[]"])
    with pytest.raises(ValueError) as refusal:
        check_count(override)
    assert str(refusal.value) == f"{key}=[]: give at least one value, as in {key}={example}"
    for text in (f"{key}={example}", f"{key}=[{example}]", f"{key}={example.partition(',')[0]}"):
        check_count(parse([text])[0])


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("train.epoch=3", "train.epoch: there is no such key; did you mean train.epochs?"),
        ("train.nothing=3", "train.nothing: there is no such key; known: train.augment, train.batch_size, "),
        ("engine.eager.devise=cpu", "engine.eager.devise: there is no such key; did you mean engine.eager.device?"),
        ("stage.prune.layer={a:1}", "stage.prune.layer: there is no such key; did you mean stage.prune."),
        ("stage.nothing.layers={a:1}", "stage.nothing.layers: there is no such key; known: stage."),
        ("layers={a:1}", "layers: there is no such key; known: "),
        ("prun=0.5", "prun: there is no such key; did you mean prune?"),
    ],
)
def test_a_key_that_is_none_gets_the_nearest_or_those_beside_it(argument, message):
    with pytest.raises(ValueError) as refusal:
        read_command_line([argument])
    assert str(refusal.value).startswith(message)
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize(
    "argument", ["model.anything=1", "data.anything=1", "task.anything=1", "stage.prune.layers={a:1}"]
)
def test_options_of_factories_and_layers_of_stages_are_keys(argument):
    assert read_command_line([argument]).configurations
