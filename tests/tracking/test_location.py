"""Which tracking database is meant, and whether it can be used."""

from pathlib import Path

import pytest

from effbench.tracking.location import for_reading, for_writing, sqlite_path, why_unusable, why_unwritable
from effbench.tracking.read import load_runs
from effbench.tracking.tracker import TrackingError
from effbench.tracking.write import MlflowTracker

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*")


def test_the_explicit_uri_comes_first_then_the_environment_then_the_folder(here, monkeypatch):
    assert for_writing(None) == f"sqlite:///{here / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there")
    assert for_writing(None) == for_reading(None) == "http://there"
    assert for_writing("http://here") == for_reading("http://here") == "http://here"


def test_reading_looks_upwards_and_creates_nothing(here, monkeypatch):
    below = here / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    above = next((folder / "mlflow.db" for folder in here.parents if (folder / "mlflow.db").is_file()), None)
    if above is None:
        with pytest.raises(ValueError, match=r"there is no mlflow\.db"):
            load_runs()
    else:  # the temporary folder lies in one where a sweep was run
        assert for_reading(None) == f"sqlite:///{above}"
    with pytest.raises(ValueError, match="there is no database at"):
        load_runs(tracking_uri=f"sqlite:///{here / 'nothing.db'}")
    assert not list(here.glob("**/*.db"))
    (here / "a" / "mlflow.db").touch()
    assert for_reading(None) == f"sqlite:///{here / 'a' / 'mlflow.db'}"


def test_only_sqlite_has_a_path():
    assert sqlite_path("sqlite:////tmp/x.db") == Path("/tmp/x.db")
    assert sqlite_path("postgresql://there/db") is None


@pytest.mark.parametrize("uri", ["mlruns", "./mlruns", "/some/folder", "file:///some/folder", "nope://x", ""])
def test_what_is_neither_server_nor_database_is_refused(uri):
    assert "must be a server" in why_unusable(uri)
    if uri:
        with pytest.raises(TrackingError, match=r"tracking\.uri=.*must be a server"):
            MlflowTracker(uri, "effbench")


def test_a_server_that_does_not_answer_is_said_so_at_once():
    assert why_unusable("http://127.0.0.1:9") == "no server answers there (Connection refused)"
    assert why_unusable("sqlite:///x.db") is None
    assert why_unusable("postgresql+psycopg://user@there/db") is None
    with pytest.raises(ValueError, match=r"tracking_uri=http://127\.0\.0\.1:9: no server answers"):
        load_runs(tracking_uri="http://127.0.0.1:9")


def test_a_database_can_be_written_where_its_folder_can(here):
    assert why_unwritable(f"sqlite:///{here / 'new' / 'mlflow.db'}") is None
    assert list((here / "new").iterdir()) == []
    (here / "file").write_text("in the way")
    reason = why_unwritable(f"sqlite:///{here / 'file' / 'mlflow.db'}")
    assert reason.startswith(f"{here / 'file'} can't be written (")
    assert reason.endswith("; name another folder")
    assert why_unwritable("nonsense").startswith("must be a server")
