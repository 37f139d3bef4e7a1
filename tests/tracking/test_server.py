"""Runs read through MLflow: the same as from the database itself, in one pass."""

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from effbench.tracking.database import Database
from effbench.tracking.frame import runs_frame
from effbench.tracking.location import sqlite_path
from effbench.tracking.server import Server

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*")


@pytest.fixture
def asked(monkeypatch):
    """Return the filters of the searches that are made, which give three runs a page."""
    filters, search = [], MlflowClient.search_runs

    def counted(self, experiment_ids, filter_string="", *, max_results, page_token):
        filters.append(filter_string)
        return search(self, experiment_ids, filter_string, max_results=3, page_token=page_token)

    monkeypatch.setattr(MlflowClient, "search_runs", counted)
    return filters


@pytest.mark.matrix(fast=3)
@pytest.mark.parametrize("sweep", [None, "", "abc1", "a", "Abc2", "nothing", "a_c%", "it's"])
def test_it_gives_what_the_database_gives(awkward, asked, sweep):
    there, here = Server(awkward).runs(["effbench"], sweep), Database(sqlite_path(awkward)).runs(["effbench"], sweep)
    assert (there.ids, there.statuses, there.starts.tolist()) == (here.ids, here.statuses, here.starts.tolist())
    expected = runs_frame(here)
    frame = runs_frame(there)
    pd.testing.assert_frame_equal(frame, expected, check_exact=True)
    assert frame.attrs == expected.attrs


def test_the_server_is_asked_for_the_sweep_only(awkward, asked):
    Server(awkward).runs(["effbench"], "other")
    assert asked == ["tags.`effbench.sweep` LIKE 'other%'"]
    asked.clear()
    Server(awkward).runs(["effbench"], None)
    assert asked == [""] * 5  # fourteen runs, each once


def test_experiments_and_sweeps_are_listed_alike(awkward):
    server, database = Server(awkward), Database(sqlite_path(awkward))
    assert sorted(server.experiments()) == sorted(database.experiments()) == ["Default", "another", "effbench", "empty"]
    assert sorted(server.sweeps("effbench")) == sorted(database.sweeps("effbench")) == ["Abc2", "abc1", "other"]
    assert server.sweeps("empty") == database.sweeps("empty") == []
    assert server.sweeps("none") == database.sweeps("none") == []
    assert server.runs(["none"], None) is database.runs(["none"], None) is None


def test_a_deleted_experiment_has_no_runs(awkward):
    client = MlflowClient(awkward)
    client.delete_experiment(client.get_experiment_by_name("effbench").experiment_id)
    for source in (Server(awkward), Database(sqlite_path(awkward))):
        assert source.runs(["effbench"], None).ids == []
        assert "effbench" not in source.experiments()
