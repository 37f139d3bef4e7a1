"""A lease: one holder at a time on any machines, a dead one's is taken over, and nothing waits for long."""

import errno
import os
import subprocess
import sys
import threading
import time

import filelock
import pytest

from effbench.checks.owner import SILENT_SECONDS, Owner, beat
from effbench.run import lease
from effbench.run.lease import held

ELSEWHERE = Owner("elsewhere", 7, "then")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "locks").mkdir()
    return tmp_path / "locks"


def leave(folder, owner, *, age=0.0, content=None):
    """Leave a lease of somebody, who was last heard of `age` seconds ago."""
    path = folder / "key.lease"
    path.write_text(f"{beat(owner, time.time())}\nabc\n" if content is None else content)
    os.utime(path, (time.time() - age,) * 2)
    return path


def is_free(folder):
    try:
        with held(folder, "key", waits=False):
            return True
    except filelock.Timeout:
        return False


def test_it_names_its_holder_and_is_gone_afterwards(folder):
    with held(folder, "key", waits=False):
        assert (folder / "key.lease").read_text().split("\n")[0].endswith(f" {Owner.here()}")
        assert not is_free(folder)
        with held(folder, "other", waits=False):
            pass
    assert [path.name for path in folder.iterdir() if path.suffix == ".lease"] == []
    with pytest.raises(RuntimeError), held(folder, "key", waits=True):
        raise RuntimeError
    assert is_free(folder)


@pytest.mark.parametrize("age, free", [(0, False), (SILENT_SECONDS - 20, False), (SILENT_SECONDS + 20, True)])
@pytest.mark.parametrize("content", [None, "", "no mark"], ids=["a mark", "cut short", "nonsense"])
def test_another_machine_keeps_it_until_it_was_silent_for_five_minutes(folder, age, free, content):
    leave(folder, ELSEWHERE, age=age, content=content)
    assert is_free(folder) is free
    assert (folder / "key.lease").exists() is not free
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_its_age_is_told_by_the_clock_of_the_files(folder, monkeypatch):
    """A machine whose own clock is an hour ahead takes nothing from who lives."""
    leave(folder, ELSEWHERE)
    now = time.time()
    monkeypatch.setattr("effbench.run.lease.time.time", lambda: now + 3600)
    assert not is_free(folder)


def test_a_process_of_this_machine_that_is_gone_loses_it_at_once(folder):
    here = Owner.here()
    leave(folder, Owner(here.host, here.process, "another start"))
    assert is_free(folder)
    leave(folder, here, age=10 * SILENT_SECONDS)  # alive, however long it was silent
    assert not is_free(folder)


HOLD = """
import sys, time
from pathlib import Path
from effbench.run.lease import held
with held(Path(sys.argv[1]), "key", waits=True):
    print("has it", flush=True)
    time.sleep(60)
"""


def test_one_that_is_killed_is_followed_at_once(folder):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"has it\n"
    told, began = [], time.monotonic()
    threading.Timer(0.2, holder.kill).start()
    with held(folder, "key", waits=True, waiting=lambda: told.append(1)):
        assert told == [1]
    assert 0.1 < time.monotonic() - began < 5
    holder.communicate()


def test_who_waits_for_another_machine_has_it_soon_after_it_is_given_back(folder):
    path = leave(folder, ELSEWHERE)
    threading.Timer(0.1, path.unlink).start()
    told, began = [], time.monotonic()
    with held(folder, "key", waits=True, waiting=lambda: told.append(1)):
        pass
    assert told == [1]
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError("no flock")])
def test_where_the_file_system_has_no_locks_the_lease_alone_lets_one_in_at_a_time(folder, monkeypatch, error):
    def refuse(self, *_, **__):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    inside, most = [], []

    def compete():
        for _ in range(5):
            with held(folder, "key", waits=True):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    threads = [threading.Thread(target=compete) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1] * 20


def test_other_errors_of_the_file_system_are_told(folder, monkeypatch):
    def refuse(self, *_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with pytest.raises(OSError, match="Input/output"), held(folder, "key", waits=True):
        pass


def test_it_is_renewed_while_it_is_held_and_what_was_lost_stays_the_others(folder, monkeypatch):
    monkeypatch.setattr(lease, "Heartbeat", lambda beat: beats.append(beat) or Beating())
    beats = []
    path = folder / "key.lease"
    with held(folder, "key", waits=True):
        os.utime(path, (0, 0))
        beats[0]()
        assert time.time() - path.stat().st_mtime < 60
        leave(folder, ELSEWHERE, age=1000)
        beats[0]()
        assert time.time() - path.stat().st_mtime > 900
    assert path.exists()


class Beating:
    """A heart that does not."""

    def stop(self): ...


def test_of_two_that_find_it_dead_the_slower_one_gives_it_back(folder, monkeypatch):
    """Between reading and renaming somebody else took it over: that one keeps it."""
    leave(folder, ELSEWHERE, age=2 * SILENT_SECONDS)
    living = f"{beat(Owner.here(), time.time())}\nnew\n"

    def meanwhile(self, content, heard):
        is_first = content.decode() != living
        self.path.write_text(living)
        return not is_first

    monkeypatch.setattr(lease._Lease, "_lives", meanwhile)
    assert not is_free(folder)
    assert (folder / "key.lease").read_text() == living
