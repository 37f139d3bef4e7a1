"""What a result rests on: every way in which a file or a folder changes is noticed."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from effbench.plan.witnesses import Witnesses

TIME = 1_700_000_000


@pytest.fixture
def place(tmp_path):
    """A file beside a folder with files, all with an old date."""
    (tmp_path / "folder" / "below").mkdir(parents=True)
    (tmp_path / "conf").mkdir()
    for name in ("file", "folder/a", "folder/below/b", "conf/a.yaml"):
        (tmp_path / name).write_text("content")
        os.utime(tmp_path / name, (TIME, TIME))
    return tmp_path


@pytest.fixture
def witnesses(place):
    return Witnesses(
        files=frozenset({str(place / "file")}),
        folders=frozenset({str(place / "folder")}),
        packages=frozenset({"torch", "there-is-no-such-package"}),
        configurations=frozenset({str(place / "conf")}),
    )


def written_with_its_old_date(path):
    path.write_text("changed")
    os.utime(path, (TIME, TIME))


CHANGES = {
    "a file": lambda place: (place / "file").write_text("longer than before"),
    "a file, its date kept": lambda place: written_with_its_old_date(place / "file"),
    "a file is another one of the same name": lambda place: (
        shutil.copy2(place / "folder" / "a", place / "other"),
        os.replace(place / "other", place / "file"),
    ),
    "a file in a folder": lambda place: written_with_its_old_date(place / "folder" / "below" / "b"),
    "a new file": lambda place: (place / "folder" / "new").touch(),
    "a file less": lambda place: (place / "folder" / "a").unlink(),
    "a file of configuration": lambda place: written_with_its_old_date(place / "conf" / "a.yaml"),
    "a new one": lambda place: (place / "conf" / "b.yaml").touch(),
    "one less": lambda place: (place / "conf" / "a.yaml").unlink(),
    "another working folder": lambda place: os.chdir(place / "folder"),
    "another name": lambda place: (place / "folder" / "a").rename(place / "folder" / "c"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_noticed(place, witnesses, change, monkeypatch):
    monkeypatch.chdir(place)
    before = witnesses.state()
    assert witnesses.state() == before
    CHANGES[change](place)
    assert witnesses.state() != before


def test_compiled_python_is_no_change_and_in_folders_of_configuration_nothing_but_yaml(place, witnesses):
    before = witnesses.state()
    (place / "conf" / "image.png").touch()
    (place / "folder" / "__pycache__").mkdir()
    (place / "folder" / "__pycache__" / "a.pyc").touch()
    assert witnesses.state() == before


@pytest.mark.parametrize("name", ["PYTHONPATH", "MLFLOW_TRACKING_URI"])
def test_so_are_packages_and_the_variables_that_decide_where_things_are(witnesses, monkeypatch, name):
    before = witnesses.state()
    with monkeypatch.context() as patch:
        patch.setattr("effbench.plan.witnesses.version", lambda package: "99")
        assert witnesses.state() != before
    monkeypatch.setenv(name, "http://me:hunter2@elsewhere")
    assert witnesses.state() != before
    assert "hunter2" not in json.dumps(witnesses.state())


def test_what_is_gone_has_no_state(place, witnesses):
    (place / "file").unlink()
    with pytest.raises(OSError):
        witnesses.state()


def test_a_state_says_of_what_it_is(witnesses):
    state = json.loads(json.dumps(witnesses.state()))
    assert Witnesses.of_state(state) == witnesses
    assert Witnesses.of_state(state).state() == state


def test_asking_imports_nothing_heavy():
    code = "import sys, effbench.plan.witnesses; print([n for n in ('torch', 'numpy', 'hydra') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
