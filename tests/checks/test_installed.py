"""Another Python than effbench's is told in a line that says what to type."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from effbench.checks.installed import what_to_activate

ROOT = Path(__file__).parents[2]
DOORS = (
    ["effbench.sweep", "prune=0.5"],
    ["effbench.sweep", "--help"],
    ["effbench.store"],
    ["effbench.profile", "model=vgg16"],
    ["effbench.new", "model", "x"],
)


def test_nothing_is_to_be_done_where_the_packages_are():
    assert what_to_activate() is None


@pytest.mark.parametrize("command", [*DOORS, ["effbench.replay", "run=1"], ["effbench.cli", "sweep", "prune=0.5"]])
def test_every_door_says_what_to_type(tmp_path, command):
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").touch()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    bare = [sys.executable, "-S", "-m", *command]  # without anything that is installed
    done = subprocess.run(bare, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("effbench: ")
    assert line.endswith("type  . .venv/bin/activate")
    assert "has no numpy, torch" in line


def test_where_there_is_no_environment_it_is_made_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("effbench.checks.installed.NEEDED", ("no_such_package",))
    monkeypatch.setattr("effbench.checks.installed.__file__", str(tmp_path / "a" / "b" / "installed.py"))
    assert what_to_activate().endswith("make setup, then type  . .venv/bin/activate")
