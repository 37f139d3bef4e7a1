"""A database that was moved or copied: its runs' files are beside it, and nobody else's are touched."""

import os
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from effbench.run.counts import pack_counts
from effbench.tracking import names, relocation
from effbench.tracking.read import load_counts, load_runs
from effbench.tracking.relocation import Move, has_files, local_path, moves_of, relocate

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*")
COUNTS = pack_counts(val=np.ones((3, 1, 2), np.int64), test=np.ones((2, 1, 2), np.int64))


@pytest.fixture
def place(here, empty_database, monkeypatch):
    """Return the folder of a sweep of one run, and what logs one more in a folder."""
    folder = here / "first"
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlflow.db")
    return folder


@pytest.fixture
def log(opened, record):
    def one_more(folder, key):
        tracker = opened(f"sqlite:///{folder / 'mlflow.db'}", sweep_id=f"sweep of {key}")
        tracker.log_run(record(key, files={names.COUNTS: COUNTS}), status="FINISHED")
        tracker.close_sweep(status="FINISHED", metrics={}, files={}, tags={})

    return one_more


def forget(folder):
    """Make a database as it was before folders were recorded."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection, connection:
        connection.execute("DELETE FROM experiment_tags WHERE key = ?", (names.FOLDER,))


def uris(folder):
    """Return the URIs of effbench's experiment and of its runs, without what comes after mlruns."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        found = connection.execute(
            "SELECT artifact_location FROM experiments WHERE name = 'effbench' UNION ALL SELECT artifact_uri FROM runs"
        ).fetchall()
    return {uri.partition("/mlruns")[0] for (uri,) in found}


def files(folder):
    return sorted(path.parents[1].name for path in folder.glob(f"mlruns/*/artifacts/{names.COUNTS}"))


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("is_recorded", [True, False])
@pytest.mark.parametrize("name", ["second", "odd ?%41 'folder'"])
def test_of_a_moved_folder_new_runs_stay_in_it(place, log, name, is_recorded):
    log(place, "a")
    if not is_recorded:
        forget(place)
    moved = place.rename(place.with_name(name))
    log(moved, "b")
    assert not place.exists()
    assert len(files(moved)) == 2
    assert uris(moved) == {moved.as_uri()}
    assert moves_of(moved / "mlflow.db") == ()


@pytest.mark.extended
@pytest.mark.parametrize("is_recorded", [True, False])
def test_a_copy_and_its_original_are_independent(place, log, is_recorded):
    log(place, "a")
    if not is_recorded:
        forget(place)
    copy = place.with_name("copy")
    shutil.copytree(place, copy)
    log(copy, "b")
    log(place, "c")
    log(copy, "d")
    assert (len(files(place)), len(files(copy))) == (2, 3)
    assert (uris(place), uris(copy)) == ({place.as_uri()}, {copy.as_uri()})


def test_files_are_read_from_where_they_are_now_and_nothing_is_written(place, log):
    log(place, "a")
    copy = place.with_name("copy")
    shutil.copytree(place, copy)
    shutil.rmtree(place)
    before = (copy / "mlflow.db").read_bytes()
    uri = f"sqlite:///{copy / 'mlflow.db'}"
    assert list(load_counts(load_runs(tracking_uri=uri), tracking_uri=uri).by_run) == ["a"]
    assert (copy / "mlflow.db").read_bytes() == before
    assert not place.exists()


def test_a_link_to_a_folder_is_no_move(place, log):
    log(place, "a")
    link = place.with_name("link")
    link.symlink_to(place)
    log(link, "b")
    assert uris(place) == {place.as_uri()}
    assert moves_of(link / "mlflow.db") == ()


@pytest.mark.extended
def test_what_was_put_elsewhere_on_purpose_stays_there(place, log, here):
    log(place, "a")
    client = MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    elsewhere = {"bucket": "s3://bucket/x", "other": (here / "other" / "files").as_uri(), "near": f"{place.as_uri()}/x"}
    made = {name: client.create_experiment(name, uri) for name, uri in elsewhere.items()}
    runs = {name: client.create_run(number).info for name, number in made.items()}
    client.set_experiment_tag(made["near"], names.FOLDER, str(place))
    moved = place.rename(place.with_name("second"))
    log(moved, "b")
    client = MlflowClient(f"sqlite:///{moved / 'mlflow.db'}")
    for name, uri in elsewhere.items():
        assert client.get_experiment(made[name]).artifact_location == uri
        assert client.get_run(runs[name].run_id).info.artifact_uri == runs[name].artifact_uri


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("at_statement", range(1, 5))
def test_killed_in_the_middle_everything_or_nothing_is_rewritten(place, log, at_statement):
    log(place, "a")
    moved = place.rename(place.with_name("second"))
    before = uris(moved)
    child = os.fork()
    if child == 0:  # dies at one of the statements that write
        connect, seen = sqlite3.connect, []

        def watched(*arguments, **options):
            connection = connect(*arguments, **options)

            def note(statement):
                if statement.startswith(("UPDATE", "INSERT", "COMMIT")):
                    seen.append(statement)
                    if len(seen) == at_statement:
                        os._exit(0)

            connection.set_trace_callback(note)
            return connection

        relocation.sqlite3.connect = watched
        relocate(moved / "mlflow.db")
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert uris(moved) == before
    relocate(moved / "mlflow.db")
    assert uris(moved) == {moved.as_uri()}


def test_what_fails_leaves_everything_as_it_was(place, log, monkeypatch):
    log(place, "a")
    moved = place.rename(place.with_name("second"))
    before = (moved / "mlflow.db").read_bytes()
    apply = relocation._apply

    def apply_and_fail(connection, move, database):
        apply(connection, move, database)
        raise KeyboardInterrupt

    monkeypatch.setattr(relocation, "_apply", apply_and_fail)
    with pytest.raises(KeyboardInterrupt):
        relocate(moved / "mlflow.db")
    assert (moved / "mlflow.db").read_bytes() == before


def test_a_move_knows_what_lies_below(tmp_path):
    move = Move(1, "file:///a/mlruns", "file:///b/mlruns")
    assert move.applied_to("file:///a/mlruns/7/artifacts") == "file:///b/mlruns/7/artifacts"
    assert move.applied_to("file:///a/mlruns") == "file:///b/mlruns"
    assert move.applied_to("file:///a/mlruns-2/7") is None
    assert Move(1).applied_to("/x") is None
    assert str(local_path("file:///a%3Fb/c")) == "/a?b/c"
    assert str(local_path("/a%3Fb/c")) == "/a%3Fb/c"
    assert local_path("s3://a/b") is local_path("mlflow-artifacts:/1") is None
    (tmp_path / "no.db").write_bytes(b"no database" * 99)
    assert moves_of(tmp_path / "no.db") == ()


def test_a_run_has_its_files_where_all_that_it_names_are_there(tmp_path):
    for name in names.FILES_OF_EVERY_RUN:
        (tmp_path / name).touch()
    assert has_files(tmp_path.as_uri(), {}) and has_files(str(tmp_path), {})
    assert not has_files(tmp_path.as_uri(), {names.FILES: '["config.yaml", "other"]'})
    assert has_files("s3://bucket/x", {names.FILES: '["other"]'})
    (tmp_path / "model.effb").unlink()
    assert not has_files(tmp_path.as_uri(), {})
