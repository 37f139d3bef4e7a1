"""Who began a sweep, and from where."""

import getpass
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient

import effbench
from effbench.tracking.names import COMMIT, DIRTY
from effbench.tracking.source import active_run_of, git_tags, source_tags

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*")
PACKAGE = Path(effbench.__file__).parent


@pytest.mark.parametrize(
    ("main_file", "name"),
    [
        ("/home/me/my script.py", "/home/me/my script.py"),
        (str(PACKAGE / "sweep" / "__main__.py"), "python -m effbench.sweep"),
        (str(PACKAGE / "report.py"), "python -m effbench.report"),
        ("/home/me/.venv/bin/effbench", "effbench sweep"),
        ("", "<console>"),
    ],
)
def test_the_source_is_the_script_or_the_command(main_file, name, monkeypatch):
    monkeypatch.setattr(sys, "argv", [main_file, "tracking.uri=http://me:hunter2hunter2@there"])
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME", raising=False)
    tags = source_tags()
    assert (tags["mlflow.source.name"], tags["mlflow.source.type"]) == (name, "LOCAL")
    assert tags["mlflow.user"] == getpass.getuser()
    assert "hunter2" not in str(tags)


def test_the_user_is_the_one_that_mlflow_knows(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    assert source_tags()["mlflow.user"] == "ada"


def test_a_notebook_is_named_as_such(monkeypatch):
    path = "mlflow.tracking.context.jupyter_notebook_context."
    monkeypatch.setattr(f"{path}JupyterNotebookRunContext.in_context", lambda _: True)
    monkeypatch.setattr(
        f"{path}JupyterNotebookRunContext.tags",
        lambda _: {"mlflow.source.name": "My.ipynb", "mlflow.source.type": "NOTEBOOK"},
    )
    tags = source_tags()
    assert (tags["mlflow.source.name"], tags["mlflow.source.type"]) == ("My.ipynb", "NOTEBOOK")


def test_outside_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_tags() == {}
    monkeypatch.setenv("PATH", "")
    assert git_tags() == {}


def test_a_commit_is_the_working_folders_and_a_tag_says_where_files_differ_from_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]

    def git(*arguments):
        return subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    assert git_tags() == {}  # nothing is committed
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-q", "-m", "first")
    commit = git("rev-parse", "HEAD")
    assert git_tags() == {COMMIT: commit}
    (tmp_path / "not in git").write_text("whatever")
    assert git_tags() == {COMMIT: commit}
    (tmp_path / "file").write_text("two")
    assert git_tags() == {COMMIT: commit, DIRTY: "true"}
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    assert git_tags()[COMMIT] == commit


def test_the_active_run_is_known_where_it_is_in_the_same_database(uri, here, empty_database, monkeypatch):
    monkeypatch.setattr("mlflow.tracking.fluent._active_experiment_id", None)
    client = MlflowClient(uri)
    (here / "other.db").write_bytes(empty_database.read_bytes())
    assert active_run_of(client) is None
    mlflow.set_tracking_uri(uri)
    with mlflow.start_run() as run:
        assert active_run_of(client) == run.info.run_id
        assert active_run_of(MlflowClient(f"sqlite:///{here / 'other.db'}")) is None
        assert mlflow.active_run().info.run_id == run.info.run_id
    assert active_run_of(client) is None
