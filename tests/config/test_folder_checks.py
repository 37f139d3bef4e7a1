"""The user's folders, checked before anything of them is used: each refusal names the file."""

import pytest

from effbench.config.command_line import read_command_line
from effbench.config.folder_checks import check_chosen, check_folders, groups
from effbench.config.search_path import Folder, SearchPath, searching

NET = "_target_: users_kit.network\n"
TASK = "_target_: users_kit.Likewise\nmodel: small_cnn\ndata: digits\n"
WRONG = {
    "broken": ({"model/net.yaml": "a: [1\n"}, "conf_mine/model/net.yaml, line 2: is no YAML"),
    "broken, of any group": ({"recipe/r.yaml": "- train\n"}, "conf_mine/recipe/r.yaml: must hold keys and values"),
    "a model's name is taken": ({"model/lenet_5.yaml": NET}, "model/lenet_5.yaml: effbench has a model of that name"),
    "an engine's, too": ({"engine/eager.yaml": NET}, "engine/eager.yaml: effbench has an engine of that name"),
    "an axis's, too": ({"axis/prune.yaml": "help: x"}, "axis/prune.yaml: effbench has an axis of that name"),
    "a space": ({"model/my net.yaml": NET}, "my net.yaml: is no name for a model; use letters, digits, _, - and ."),
    "a dash in a key": ({"stage/my-one.yaml": NET}, "my-one.yaml: is no name for a stage; use letters, digits and _"),
    "no target": ({"model/net.yaml": "units: 3\n"}, "conf_mine/model/net.yaml: _target_ must be given"),
    "a task without a network": ({"task/t.yaml": "_target_: a.B\ndata: digits\n"}, "task/t.yaml: model must be given"),
    "a task of several": (
        {"task/t.yaml": "_target_: a.B\ndata: [digits]\nmodel: lenet_5\n"},
        "task/t.yaml: data must be given",
    ),
    "a task of what there is not": (
        {"task/t.yaml": "_target_: a.B\ndata: digits\nmodel: lenet5\n"},
        "task/t.yaml: model: lenet5: there is no such model; did you mean lenet_5?",
    ),
    "a task like none": (
        {"task/t.yaml": f"{TASK}like: clasification\n"},
        "like: clasification: there is no such task; did you mean classification?",
    ),
    "a recipe without steps": ({"recipe/r.yaml": "rounds: 2\n"}, "recipe/r.yaml: steps must be a list of stages"),
    "of steps that are none": ({"recipe/r.yaml": "steps: [[[train]]]\n"}, "recipe/r.yaml: steps must be a list"),
    "of another's name": ({"recipe/r.yaml": "name: q\nsteps: [train]\n"}, "name must be r, as the file is called"),
    "another end": ({"model/net.yml": NET}, "conf_mine/model/net.yml: must be called net.yaml; Hydra reads no .yml"),
    "config.yaml": ({"config.yaml": "tolerance: 1", "model/net.yaml": NET}, "and give --config-name=mine"),
    "keys that would stand elsewhere": (
        {"model/net.yaml": f"# @package _global_\n{NET}"},
        "conf_mine/model/net.yaml: # @package _global_: its keys stand in model; leave the line out",
    ),
    "nothing in it": ({"readme.txt": ""}, "conf_mine: holds none of the folders that are groups: "),
}


def checked(folder):
    path = SearchPath(folders=(Folder(folder, folder.name),))
    with searching(path):
        check_folders(path)


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_refused_with_its_file(own_folder, case):
    files, said = WRONG[case]
    with pytest.raises(ValueError) as caught:
        checked(own_folder(files))
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_folder_that_is_no_group_is_told_of(own_folder, caplog):
    folder = own_folder({"model/net.yaml": NET, "models/other.yaml": NET, ".git/x.yaml": "", "code/net.py": ""})
    checked(folder)
    assert [record.getMessage() for record in caplog.records] == [
        "conf_mine/models: is no group of the configuration, and nothing reads it; did you mean conf_mine/model?"
    ]
    caplog.clear()
    own_folder({"model/net.yaml": f"defaults: [/models@_here_: other, _self_]\n{NET}", "hydra/launcher/l.yaml": "a: 1"})
    checked(folder)
    assert not caplog.records


@pytest.mark.extended
def test_what_editors_leave_beside_a_file_is_no_member(own_folder):
    folder = own_folder({"stage/mine.yaml": "_target_: a.B\n", "stage/.#mine.yaml": "a: [", "stage/mine.yaml~": "a: ["})
    checked(folder)
    assert set(read_command_line(["-cd", "conf_mine"]).configurations[0].node["stage"]) >= {"mine", "prune"}


@pytest.mark.extended
def test_a_member_that_leaves_keys_out_is_refused_where_it_is_chosen(own_folder):
    folder = own_folder({"train/t.yaml": "lr: 0.1\n", "train/u.yaml": "defaults: [default, _self_]\nlrr: 0.1\n"})
    assert read_command_line(["-cd", str(folder)]).configurations[0].choices["train"] == "default"
    with pytest.raises(
        ValueError, match=r"train/t.yaml: lacks .*batch_size, .*begin it with defaults: \[default, _self"
    ):
        read_command_line(["-cd", "conf_mine", "train=t"])
    with pytest.raises(ValueError, match=r"conf_mine/train/u.yaml: lrr: there is no such key; did you mean lr\?"):
        read_command_line(["-cd", "conf_mine", "train=u"])


@pytest.mark.extended
def test_a_recipe_is_called_as_its_file(own_folder):
    own_folder({"recipe/r.yaml": "steps: [train]\nrounds: 1\n", "recipe/s.yaml": "defaults: [default, _self_]\n"})
    for name in ("r", "s"):
        (composed,) = read_command_line(["-cd", "conf_mine", f"recipe={name}"]).configurations
        assert composed.node["recipe"]["name"] == name
    node = {"recipe": {"steps": ["train"]}}
    with searching(SearchPath()):
        check_chosen(node, {"recipe": "default", "train": "default", "tracking": "default"})
    assert node == {"recipe": {"steps": ["train"]}}


def test_the_groups_are_effbenchs_own_folders():
    assert {"axis", "stage", "model", "data", "task", "engine", "recipe", "train", "tracking"} <= groups()


def test_experiments_are_groups_and_what_stands_in_its_own_group_may_say_so(own_folder, caplog):
    files = {"experiment/a.yaml": "", "study/b/c.yaml": "", "model/net.yaml": f"# @package model\n{NET}"}
    checked(own_folder(files))
    checked(own_folder({"experiment/a.yaml": ""}, name="other"))
    assert caplog.records == []
