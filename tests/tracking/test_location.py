"""Which tracking database is meant, and whether it can be used."""

import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from effbench.tracking.location import (
    for_mlflow,
    for_reading,
    for_writing,
    sqlite_path,
    ui_command,
    why_unusable,
    why_unwritable,
)
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


ODD = ["a?b", "a%41", "a%", "a'b\"c", "a?mode=ro", "#;&+ ", "žluť\n"]


@pytest.mark.parametrize("name", ODD)
def test_a_path_of_any_name_is_found_again_and_mlflow_can_open_it(here, name):
    folder = here / name
    folder.mkdir()
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    assert sqlite_path(uri) == folder / "mlflow.db"
    assert why_unwritable(uri) is None
    with closing(create_engine(for_mlflow(uri)).connect()) as connection:
        connection.execute(text("CREATE TABLE x (y)"))
        connection.commit()
    assert (folder / "mlflow.db").stat().st_size > 0
    assert sqlite_path(for_reading(uri)).samefile(folder / "mlflow.db")
    assert list(here.iterdir()) == [folder]


def test_what_looks_like_options_is_none_of_the_path(here):
    assert sqlite_path("sqlite:///a/b.db?timeout=3&mode=ro") == Path("a/b.db")
    assert sqlite_path("sqlite:///a?b=c/d.db") == Path("a?b=c/d.db")
    assert sqlite_path("sqlite+pysqlite:///a.db") == Path("a.db")
    assert sqlite_path("sqlite:///file:/tmp/a%3Fb.db?uri=true") == Path("/tmp/a?b.db")
    assert sqlite_path("sqlite:///~/a.db") == Path.home() / "a.db"
    assert for_mlflow("sqlite:///a/b.db?timeout=3") == "sqlite:///a/b.db?timeout=3"
    assert for_mlflow("postgresql://me:a%41@there/db?x=1") == "postgresql://me:a%41@there/db?x=1"
    (here / "a b").mkdir()
    assert sqlite_path(f"sqlite:///{here}/a%20b/m.db") == here / "a b" / "m.db"  # as SQLAlchemy reads it
    (here / "a%20b").mkdir()
    assert sqlite_path(f"sqlite:///{here}/a%20b/m.db") == here / "a%20b" / "m.db"


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///a\udcffb/m.db", "not UTF-8"),
        (f"sqlite:////tmp/{'x' * 200}/{'x' * 200}/{'x' * 200}/m.db", "more than 490 bytes"),
        ("sqlite:///m%3F.db", "no database of that name"),
        ("http://me:***@there", "*** stands for a password"),
        ("sqlite:///folder", "is no file"),
        ("sqlite:///a\0b/m.db", "null byte"),
    ],
)
def test_what_can_be_no_database_is_refused(here, uri, reason):
    (here / "folder").mkdir()
    assert reason in why_unwritable(uri)


def test_a_working_folder_that_is_gone_is_said_so(here, monkeypatch):
    gone = here / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for ask in (for_writing, for_reading):
        with pytest.raises(ValueError, match=r"^the working folder is gone"):
            ask(None)
    monkeypatch.chdir(here)


@pytest.mark.parametrize("name", ["plain", "my runs", *ODD])
def test_the_command_that_shows_the_runs_is_one_that_a_shell_takes(here, monkeypatch, name):
    folder = here / name
    folder.mkdir()
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    command = ui_command(uri)
    assert command.isprintable()
    # What a shell makes of it: `mlflow` only says where it is, and what it is given.
    program = f'mlflow() {{ printf \'%s\\0\' "$PWD" "$@"; }}; {command}'
    done = subprocess.run(["bash", "-c", program], capture_output=True, check=True, cwd=here)
    place, *arguments, _ = done.stdout.decode().split("\0")
    assert arguments[:2] == ["ui", "--backend-store-uri"]
    with monkeypatch.context() as patch:
        patch.chdir(place)
        with closing(create_engine(arguments[2]).connect()) as connection:
            connection.execute(text("CREATE TABLE x (y)"))
            connection.commit()
    assert (folder / "mlflow.db").stat().st_size > 0
    monkeypatch.chdir(folder)
    assert ui_command(uri) == "mlflow ui"


def test_the_command_of_a_server_is_its_address_and_no_password_is_in_it(here):
    assert ui_command("http://me:pw@there:5000") == "http://there:5000"
    shown = "mlflow ui --backend-store-uri 'postgresql://me:***@there/db'"
    assert ui_command("postgresql://me:pw@there/db") == shown
    assert ui_command(f"sqlite:///{here}/other.db") == f"mlflow ui --backend-store-uri sqlite:///{here}/other.db"
