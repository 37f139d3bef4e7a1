"""The members of groups and the axes: effbench's own and those in the user's folders, each as its file stands."""

import pytest

from effbench.config.members import declared_axes, members, naming_the_file, users_files
from effbench.config.search_path import Folder, SearchPath, searching


def within(*folders):
    return searching(SearchPath(folders=tuple(Folder(folder, folder.name) for folder in folders)))


def test_those_of_the_users_folders_are_there_as_long_as_they_are_looked_through(own_folder, axis_yaml):
    folder = own_folder({"model/net.yaml": "_target_: kit.net\nlr: 1e-3\n", "axis/amount.yaml": axis_yaml()})
    own = members("model"), declared_axes()
    assert "net" not in own[0]
    with within(folder):
        assert members("model") == {**own[0], "net": {"_target_": "kit.net", "lr": 0.001}}
        assert declared_axes()["amount"].check(1) == 1.0
        assert set(declared_axes()) == {*own[1], "amount"}
        (folder / "model" / "net.yaml").write_text("_target_: kit.other\n")
        assert members("model")["net"] == {"_target_": "kit.other"}
    assert (members("model"), declared_axes()) == own


def test_of_two_folders_the_first_one_counts(own_folder):
    first, second = own_folder({"model/net.yaml": "n: 1"}, name="a"), own_folder({"model/net.yaml": "n: 2"}, name="b")
    with within(first, second):
        assert (members("model")["net"], users_files("model")["net"][1]) == ({"n": 1}, "a/model/net.yaml")
    with within(second, first):
        assert members("model")["net"] == {"n": 2}


def test_what_builds_on_another_is_put_together(own_folder):
    folder = own_folder({"model/net.yaml": "defaults: [small_cnn, _self_]\nkernel: 5\n"})
    with within(folder):
        assert members("model")["net"] == {**members("model")["small_cnn"], "kernel": 5}
    own_folder({"model/net.yaml": "defaults: [part/broken, _self_]\n", "model/part/broken.yaml": "a: [1\n"})
    with within(folder), pytest.raises(ValueError, match=r"model/part/broken.yaml\S*, line 2: is no YAML: expected"):
        members("model")
    own_folder({"model/net.yaml": "defaults: [nope, _self_]\n"})
    with within(folder), pytest.raises(ValueError, match=r"model/nope.*\(see conf_mine/model/net.yaml\)"):
        members("model")


@pytest.mark.parametrize(
    ("written", "read"), [("0.5", "0.5"), ("1", "1"), ("0.5,1", "0.5,1"), ("[0.5, 1]", "0.5,1"), ('"0.5"', "0.5")]
)
def test_an_example_needs_no_quotes(own_folder, axis_yaml, written, read):
    with within(own_folder({"axis/amount.yaml": axis_yaml(example=written)})):
        assert declared_axes()["amount"].example == read


def test_errors_name_the_file_of_what_is_the_users(own_folder):
    folder = own_folder({"stage/mine.yaml": "_target_: kit.Mine\n"})
    said = {
        ("stage", "mine", "stage.mine.n=3: is too much"): "stage.mine.n=3: is too much (see conf_mine/stage/mine.yaml)",
        (
            "stage",
            "mine",
            "stage.mine.n: must be given",
        ): "stage.mine.n: must be given, or be the target of an axis, as "
        "in target: mine.n (see conf_mine/stage/mine.yaml)",
        ("stage", "prune", "as it is"): "as it is",
    }
    with within(folder):
        for (group, member, message), whole in said.items():
            with pytest.raises(ValueError) as caught, naming_the_file(group, member):
                raise ValueError(message)
            assert str(caught.value) == whole
