"""Runs that began elsewhere are told of while one waits, each once."""

import time
from types import SimpleNamespace

import pytest

from effbench.run import announcements
from effbench.run.announcements import announce, telling_of
from effbench.run.store import Store

POINTS = [SimpleNamespace(key=key) for key in "abc"]


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(announcements, "SECONDS_APART", 0.01)


@pytest.fixture
def observer():
    told = []
    return SimpleNamespace(told=told, run_began=lambda point, seconds: told.append((point.key, seconds)))


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_who_waits_is_told_of_each_run_once_with_its_time(tmp_path, observer):
    store = Store(tmp_path)
    announce(store, "a", 1.0)  # of an earlier command, which was killed
    with telling_of(POINTS, store, observer):
        announce(store, "b", 1000.25)
        wait_for(lambda: observer.told)
        announce(store, "c", 1001.5)
        wait_for(lambda: len(observer.told) == 2)
        announce(store, "another", 5.0)
        time.sleep(0.05)
    assert observer.told == [("b", 1000.25), ("c", 1001.5)]
    assert [path.name for path in tmp_path.glob("launcher/began/*")] == ["another.txt"]


def test_nobody_is_told_any_more_afterwards_also_after_a_failure(tmp_path, observer):
    store = Store(tmp_path)
    with pytest.raises(ValueError, match="x"), telling_of(POINTS, store, observer):
        raise ValueError("x")
    announce(store, "a", 1.0)
    time.sleep(0.05)
    assert observer.told == []


def test_a_store_that_takes_no_file_is_let_pass(tmp_path):
    (tmp_path / "launcher").write_text("a file")
    announce(Store(tmp_path), "a", 1.0)
