"""A SQLite file that is read: at one moment, whatever its name, and never written or made."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from effbench.tracking.sqlite_file import reading

COUNT = "SELECT count(*) FROM notes"
NAMES = [
    "a b.db",
    "100%.db",
    "50%25.db",
    "what?mode=memory.db",
    "a#b.db",
    "é 日本.db",
    "a&b;c.db",
    "'q\".db",
    "n\udce9.db",
]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "some.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE notes (text)")
        database.execute("INSERT INTO notes VALUES ('one')")
        database.commit()
    return path


@pytest.mark.parametrize("name", NAMES)
def test_it_may_have_any_name(path, name):
    other = path.with_name(name)
    other.write_bytes(path.read_bytes())
    for spelling in (other, Path(f"/{other}")):  # two slashes
        with reading(spelling) as database:
            assert database.execute(COUNT).fetchone() == (1,)
    assert sorted(entry.name for entry in path.parent.iterdir()) == sorted([path.name, name])


def test_one_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(sqlite3.Error), reading(tmp_path / "none.db"):
        pass
    assert not list(tmp_path.iterdir())


def test_everything_is_read_as_it_was_at_one_moment(path):
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA journal_mode = WAL")
    try:
        with reading(path) as database:
            count = "SELECT count(*) FROM notes"
            before = database.execute(count).fetchone()
            writer.execute("DELETE FROM notes")
            writer.commit()
            assert database.execute(count).fetchone() == before != (0,)
    finally:
        writer.close()


def test_nothing_can_be_written(path):
    with reading(path) as database, pytest.raises(sqlite3.OperationalError, match="readonly"):
        database.execute("DELETE FROM notes")
