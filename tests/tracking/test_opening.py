"""The database is made once, with the user's rights, in folders of any name."""

import os

import pytest
from mlflow.tracking import MlflowClient

from effbench.tracking import names
from effbench.tracking.location import for_mlflow
from effbench.tracking.opening import open_database

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
