"""Which folders a command names, in every way to write it, and what is said of one that is none."""

import os
import sys

import pytest

from effbench.config.search_path import Folder, SearchPath, conf_folder, search_path, searching, take_search_path

NET = {"model/net.yaml": "_target_: effbench.models.lenet_5\n"}


@pytest.fixture
def place(own_folder, tmp_path, monkeypatch):
    """A working folder with two folders of configuration, a package with one, and a home with one."""
    own_folder(NET)
    own_folder(NET, name="with space")
    own_folder({**NET, "__init__.py": ""}, name="kit_of_mine/conf")
    (tmp_path / "kit_of_mine" / "__init__.py").write_text("raise SystemExit('a package is not imported for its files')")
    own_folder(NET, name="home/conf")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    assert "kit_of_mine" not in sys.modules


WRITTEN = {
    "--config-dir conf_mine": ["conf_mine"],
    "--config-dir=conf_mine": ["conf_mine"],
    "-cd conf_mine": ["conf_mine"],
    "-cd=./conf_mine/": ["conf_mine"],
    "-cd kit_of_mine/../conf_mine": ["conf_mine"],
    "-cd {}/conf_mine": ["conf_mine"],
    "-cd ~/conf": ["home/conf"],
    "--config-dir=~/conf": ["home/conf"],
    "-cd|with space": ["with space"],
    "hydra.searchpath=[conf_mine]": ["conf_mine"],
    "+hydra.searchpath=[file://conf_mine]": ["conf_mine"],
    "++hydra.searchpath=[file://{}/conf_mine]": ["conf_mine"],
    "hydra.searchpath=[file://~/conf]": ["home/conf"],
    "hydra.searchpath=[~/conf,conf_mine]": ["home/conf", "conf_mine"],
    "hydra.searchpath=['~/conf']": ["home/conf"],
    "hydra.searchpath=[file://${{oc.env:HOME}}/conf]": ["home/conf"],
    "hydra.searchpath=[pkg://kit_of_mine.conf]": ["kit_of_mine/conf"],
    "hydra.searchpath=[pkg://kit_of_mine/conf,file://conf_mine]": ["kit_of_mine/conf", "conf_mine"],
    "hydra.searchpath=[pkg://kit_of_mine.conf] -cd conf_mine": ["conf_mine", "kit_of_mine/conf"],
    "hydra.searchpath=[conf_mine,{}/conf_mine]": ["conf_mine"],
    "hydra.searchpath=[]": [],
    "prune=0.5": [],
}


@pytest.mark.parametrize("text", WRITTEN)
def test_every_way_to_name_folders(place, text):
    given = text.format(place)
    arguments = given.split("|") if "|" in given else given.split()
    path, others = take_search_path(["+bits=4", *arguments, "model=net"])
    assert [folder.path for folder in path.folders] == [place / name for name in WRITTEN[text]]
    assert others == ["+bits=4", *(["prune=0.5"] if text == "prune=0.5" else []), "model=net"]


WRONG = {
    "--config-dir": "must be followed by a folder",
    "--config-dir=": "must be followed by a folder",
    "-cd --config-name=mine": "must be followed by a folder",
    "--config-name": "must be followed by a name",
    "-cd nope": "--config-dir=nope: there is no such folder in ",
    "-cd /nope/there": "--config-dir=/nope/there: there is no such folder",
    "-cd ~nobody_of_this_name/there": "is no folder",
    "-cd conf_mine/model/net.yaml": "is a file; name the folder that it lies in",
    "-cd a\0b": "a\0b: there is no such folder",
    "-cd conf_mine --config-dir=conf_mine": "is given already (conf_mine); more folders: hydra.searchpath=",
    "hydra.searchpath=[conf_mine] +hydra.searchpath=[conf_mine]": "is given already",
    "hydra.searchpath=conf_mine": "must be a list of folders",
    "hydra.searchpath=[conf_mine],[nope]": "must be a list of folders",
    "hydra.searchpath=null": "must be a list of folders",
    "hydra.searchpath=[3]": "must be a list of folders",
    "hydra.searchpath={a:b}": "must be a list of folders",
    "hydra.searchpath=[nope]": "hydra.searchpath=nope: there is no such folder",
    "hydra.searchpath=[${oc.env:NOPE_OF_MINE}]": "NOPE_OF_MINE",
    "hydra.searchpath=[pkg://nope_of_mine.conf]": "there is no such package",
    "hydra.searchpath=[pkg://kit_of_mine.nope]": "there is no such package",
    "hydra.searchpath=[pkg://]": "there is no such package",
    "hydra.searchpath=[structured://x]": "must begin with file:// or pkg://",
    "--config-name=mine": "give that too, as in --config-dir",
    "--config-name=mine -cd conf_mine": "there is no mine.yaml in conf_mine",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_names_none_is_refused_in_a_line(place, text):
    with pytest.raises(ValueError) as caught:
        take_search_path(text.split(" "))
    assert WRONG[text] in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_of_defaults_may_name_more_folders_and_is_found_in_any(place):
    (place / "with space" / "mine.yaml").write_text(
        "defaults: [config, _self_]\nhydra: {searchpath: [pkg://kit_of_mine.conf]}\n"
    )
    for arguments in (["--config-name=mine"], ["-cn", "mine.yaml"]):
        path, _ = take_search_path(["-cd", "conf_mine", "hydra.searchpath=['with space']", *arguments])
        assert path.primary == "mine"
        assert [folder.name for folder in path.folders][:2] == ["conf_mine", "with space"]
        assert path.folders[2].path == place / "kit_of_mine" / "conf"
    with pytest.raises(ValueError, match=r"there is no such file; did you mean mine\?"):
        take_search_path(["hydra.searchpath=['with space']", "-cn", "mien"])


def test_nothing_of_it_is_left_for_whoever_comes_next(tmp_path):
    before = search_path()
    path = SearchPath(folders=(Folder(tmp_path, "there"),))
    with pytest.raises(KeyError), searching(path):
        assert search_path() is path
        raise KeyError
    assert search_path() is before
    assert before.folders == ()


def test_files_are_named_as_the_user_would(tmp_path):
    assert Folder(tmp_path, "../conf").shown(tmp_path / "a" / "b.yaml") == os.path.join("../conf", "a", "b.yaml")
    assert conf_folder().is_dir()
