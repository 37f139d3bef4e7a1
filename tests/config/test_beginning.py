"""The files that something of the user's own begins with: planned as they are, and of a name that nothing else has."""

import ast
import shlex
import sys
from pathlib import Path

import pytest

from effbench.config.beginning import KINDS, TEMPLATES, command_of, files_of
from effbench.config.read import read_sweep

FOLDER = Path("conf_mine")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("begun_")]:
        del sys.modules[name]


def write(files):
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.extended
def test_each_can_be_planned_as_it_is_and_all_of_them_in_one_folder(here):
    for kind in KINDS:
        files = files_of(kind, f"begun_{kind}", FOLDER)
        assert (Path(f"begun_{kind}.py") in files) == (kind != "recipe")
        assert FOLDER / kind / f"begun_{kind}.yaml" in files
        write(files)
    for kind in KINDS:
        words = shlex.split(command_of(kind, f"begun_{kind}", FOLDER))
        assert words[:4] == ["effbench", "sweep", "--config-dir", "conf_mine"]
        sweep = read_sweep(words[2:])
        assert len(sweep.plan.points) >= 2
        assert f"begun_{kind}" in str([point.config for point in sweep.plan.points]) or kind == "engine"
        assert set(sweep.engines) == ({"eager", "begun_engine"} if kind == "engine" else {"eager"})


@pytest.mark.parametrize(
    ("kind", "name", "class_name"),
    [
        ("stage", "mask", "MaskStage"),
        ("stage", "my_own2", "MyOwn2"),
        ("task", "quality", "QualityTask"),
        ("task", "Task", "Task"),
        ("engine", "tensor", "TensorEngine"),
    ],
)
def test_no_class_takes_the_name_of_what_its_file_uses(here, kind, name, class_name):
    files = files_of(kind, name, FOLDER)
    code = files[Path(f"{name}.py")]
    assert [node.name for node in ast.parse(code).body if isinstance(node, ast.ClassDef)] == [class_name]
    assert f"_target_: {name}.{class_name}\n" in files[FOLDER / kind / f"{name}.yaml"]


WRONG = {
    "stge x": "stge: there is no such kind; did you mean stage?",
    "model 1x": "must be a name in Python",
    "model class": "must be a name in Python",
    "model a-b": "must be a name in Python",
    "model a.b": "must be a name in Python",
    "model größe": "must be a name in Python",
    "model __init__": "must be a name in Python",
    "model ../x": "must be a name in Python",
    "model small_cnn": "is what effbench calls a model of its own",
    "engine eager": "is what effbench calls an engine of its own",
    "recipe default": "is what effbench calls a recipe of its own",
    "stage alpha": "its axis would be alpha, which effbench has already",
    "stage seed": "its axis would be seed, which effbench has already",
    "stage macs": "its axis would be macs, which effbench has already",
    "model nn": "stands for something else in the file",
    "data np": "stands for something else in the file",
    "model json": "is a module that Python finds already",
    "stage torch": "is a module that Python finds already",
    "data begun_package": "is a module that Python finds already",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_name_that_something_has_is_refused(here, text):
    (here / "begun_package").mkdir()
    (here / "begun_package" / "__init__.py").touch()
    kind, name = text.split()
    with pytest.raises(ValueError) as caught:
        files_of(kind, name, FOLDER)
    assert WRONG[text] in str(caught.value)


def test_every_kind_has_its_files():
    assert {path.name.partition(".")[0] for path in TEMPLATES.iterdir()} == set(KINDS)
