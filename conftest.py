"""Examples in docstrings run in an empty folder, with no tracker but the one that they make."""

import pytest


def pytest_collection_modifyitems(items):
    """Let MLflow use what is deprecated."""
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*"))


@pytest.fixture(autouse=True)
def _examples_have_a_folder_of_their_own(request):
    if not isinstance(request.node, pytest.DoctestItem):
        return
    request.getfixturevalue("monkeypatch").chdir(request.getfixturevalue("tmp_path"))
    request.getfixturevalue("monkeypatch").delenv("MLFLOW_TRACKING_URI", raising=False)
    request.getfixturevalue("monkeypatch").setenv("EFFBENCH_FORKSERVER_FOLDER", "")  # what is set is taken back
