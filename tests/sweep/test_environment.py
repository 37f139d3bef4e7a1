"""What a run was made with: versions, machine, commit."""

import os
import subprocess
from importlib.metadata import version

import pytest

from effbench.sweep import environment
from effbench.sweep.environment import PACKAGES, describe_environment, describe_machine, git_commit


@pytest.fixture(autouse=True)
def asked_anew():
    describe_environment.cache_clear()
    describe_machine.cache_clear()
    yield
    describe_environment.cache_clear()
    describe_machine.cache_clear()


def test_versions_and_machine_are_tags(monkeypatch):
    monkeypatch.setattr(environment, "git_commit", lambda: "0123abc")
    tags = describe_environment()
    assert {f"version.{package}" for package in PACKAGES} < set(tags)
    assert tags["version.torch"] == version("torch")
    assert tags["machine"] == describe_machine()
    assert f"{os.cpu_count()} cores" in tags["machine"]
    assert tags["mlflow.source.git.commit"] == "0123abc"


def test_outside_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_commit() is None
    assert "mlflow.source.git.commit" not in describe_environment()
    monkeypatch.setenv("PATH", "")
    assert git_commit() is None


def test_a_commit_is_marked_where_files_differ_from_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]

    def git(*arguments):
        return subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-q", "-m", "first")
    commit = git("rev-parse", "HEAD")
    assert git_commit() == commit
    (tmp_path / "not in git").write_text("whatever")
    assert git_commit() == commit
    (tmp_path / "file").write_text("two")
    assert git_commit() == f"{commit}-modified"
