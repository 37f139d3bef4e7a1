"""The database is made once, with the user's rights, in folders of any name."""

import os
import subprocess
import sys
import time

import pytest
from mlflow.tracking import MlflowClient

from effbench.tracking import names
from effbench.tracking.location import for_mlflow, sqlite_path
from effbench.tracking.opening import open_database
from effbench.tracking.read import load_runs
from effbench.tracking.tracker import TrackingError
from effbench.tracking.write import MlflowTracker

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*")


def test_it_is_made_in_a_folder_whose_name_means_something_to_others(tmp_path, monkeypatch):
    folder = tmp_path / "what?is=%41 'this' \"&+;# \n žluť"
    folder.mkdir()
    monkeypatch.chdir(folder)
    client, number = open_database(f"sqlite:///{folder / 'mlflow.db'}", "effbench", None)
    assert client.get_experiment(number).artifact_location == (folder / "mlruns").as_uri()
    assert client.get_experiment("0").artifact_location == (folder / "mlruns" / "0").as_uri()
    assert list(tmp_path.iterdir()) == [folder]
    assert (folder / "mlflow.db").is_file()


def test_an_experiment_says_where_it_was_made_and_where_its_files_go(uri, here):
    client, number = open_database(uri, "effbench", None)
    assert client.get_experiment(number).tags[names.FOLDER] == str(here)
    assert open_database(uri, "effbench", None)[1] == number
    _, other = open_database(uri, "other", "files of mine")
    assert client.get_experiment(other).artifact_location == (here / "files of mine").as_uri()
    assert client.get_experiment(other).tags[names.EXPERIMENT_KIND[0]] == names.EXPERIMENT_KIND[1]


def test_a_group_that_may_write_files_may_write_the_database(tmp_path):
    before = os.umask(0o002)
    try:
        open_database(f"sqlite:///{tmp_path / 'mlflow.db'}", "effbench", None)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir() if path.is_file()}
    assert modes == {"mlflow.db": 0o664, "mlflow.db.lock": 0o664}


def test_mlflow_reads_what_was_made(uri):
    _, number = open_database(uri, "effbench", None)
    assert MlflowClient(for_mlflow(uri)).get_experiment_by_name("effbench").experiment_id == number


OPEN = """
import sys
from effbench.tracking.write import MlflowTracker
MlflowTracker(sys.argv[1], "effbench")
"""


@pytest.mark.waiting
@pytest.mark.parametrize("at_bytes", [1, 100_000, 500_000])
def test_killed_while_the_database_is_made_it_is_made_anew(here, at_bytes, opened, record):
    uri, part = f"sqlite:///{here / 'mlflow.db'}", here / "mlflow.db.part"
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", OPEN, uri], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size >= at_bytes):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert not (here / "mlflow.db").exists() and part.exists()
    tracker = opened(uri)
    tracker.log_run(record("a"), status="FINISHED")
    assert not part.exists()
    assert list(load_runs(tracking_uri=uri)["run_key"]) == ["a"]


def test_an_empty_file_becomes_a_database(here, opened):
    (here / "mlflow.db").touch()
    opened(f"sqlite:///{here / 'mlflow.db'}")
    assert load_runs(tracking_uri=f"sqlite:///{here / 'mlflow.db'}").empty


def test_options_of_a_database_are_not_part_of_its_name(here, uri, opened, record):
    tracker = opened(f"{uri}?timeout=3")
    tracker.log_run(record("a"), status="FINISHED")
    assert len(load_runs(tracking_uri=f"{uri}?timeout=3")) == 1
    assert sqlite_path(f"{uri}?timeout=3") == here / "mlflow.db"


def test_a_file_that_is_no_database_is_said_so(here):
    (here / "mlflow.db").write_bytes(b"no database" * 500)
    with pytest.raises(ValueError, match=r"mlflow\.db: can't be read .*not a database"):
        load_runs()
    with pytest.raises(TrackingError, match=r"mlflow\.db: can't be used .*not a database.*; move that file away"):
        MlflowTracker(f"sqlite:///{here / 'mlflow.db'}", "effbench")
