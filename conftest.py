"""Examples in docstrings run in a folder of their own, with a tracker of their own."""

import shutil

import pytest


def pytest_collection_modifyitems(items):
    """Let MLflow use what is deprecated."""
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*"))


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """Return a database with MLflow's tables and nothing in them: making one takes a second."""
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("database") / "empty.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(autouse=True)
def _examples_have_a_folder_of_their_own(request):
    if not isinstance(request.node, pytest.DoctestItem):
        return
    folder = request.getfixturevalue("tmp_path")
    if "run_sweep" in request.node.dtest.docstring:
        shutil.copy(request.getfixturevalue("empty_database"), folder / "mlflow.db")
    request.getfixturevalue("monkeypatch").chdir(folder)
    request.getfixturevalue("monkeypatch").delenv("MLFLOW_TRACKING_URI", raising=False)
    request.getfixturevalue("monkeypatch").setenv("EFFBENCH_FORKSERVER_FOLDER", "")  # what is set is taken back
