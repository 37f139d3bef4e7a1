"""Whose is what: a process, told from another of the same number, and alive as long as it is heard of."""

import os
import subprocess
import sys
import threading

import pytest

from effbench.checks.owner import SILENT_SECONDS, Heartbeat, Owner, beat, read_beat, start_of


def test_an_owner_is_read_as_it_was_written():
    owner = Owner.here()
    assert Owner.of_text(str(owner)) == owner
    assert owner.process == os.getpid() and owner.start
    assert owner.digest != Owner(owner.host, owner.process + 1, owner.start).digest
    assert read_beat(beat(owner, 1000.0)) == (owner, 1000.0)
    for text in ("", "nonsense", "host x y", "host -3 y"):
        assert Owner.of_text(text) is None
        assert read_beat(f"1000 {text}") is read_beat(f"then {owner}") is None


def test_a_process_is_gone_when_it_ended_and_when_another_has_its_number():
    here = Owner.here()
    assert here.is_gone is False
    assert Owner(here.host, here.process, "another start").is_gone is True
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    other = Owner(here.host, process.pid, start_of(process.pid))
    assert other.is_gone is False
    process.communicate(b"\n")
    assert other.is_gone is True
    assert Owner("elsewhere", here.process, here.start).is_gone is None


def test_another_machine_is_dead_after_five_minutes_of_silence():
    elsewhere, here = Owner("elsewhere", 7, "then"), Owner.here()
    gone = Owner(here.host, here.process, "another start")
    assert SILENT_SECONDS == 300
    for now, lives in ((1000.0, True), (1299.0, True), (1301.0, False), (900.0, True)):  # the last: its clock is ahead
        assert elsewhere.is_alive(1000.0, now) is lives
        assert here.is_alive(1000.0, now)  # which can be looked for, however long it was silent
        assert not gone.is_alive(1000.0, now)


def test_the_heart_beats_on_whatever_a_beat_raises_until_it_is_stopped():
    beats, is_third = [], threading.Event()

    def fail():
        beats.append(1)
        if len(beats) == 3:
            is_third.set()
        raise OSError("the server is away")

    heartbeat = Heartbeat(fail, seconds=0.001)
    assert is_third.wait(30)
    heartbeat.stop()
    n_beats = len(beats)
    assert not any(
        thread.name == "effbench-heartbeat" and thread is heartbeat._thread for thread in threading.enumerate()
    )
    assert len(beats) == n_beats


def test_it_does_not_beat_before_its_time():
    heartbeat = Heartbeat(lambda: pytest.fail("too early"), seconds=3600)
    heartbeat.stop()
    assert not heartbeat._thread.is_alive()
