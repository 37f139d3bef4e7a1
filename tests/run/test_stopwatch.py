"""The time of a step, without what is done meanwhile for others."""

import pytest

from effbench.run import stopwatch
from effbench.run.stopwatch import Stopwatch


class Clock:
    """A clock that goes on when it is told to."""

    now = 100.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(stopwatch, "time", clock)
    return clock


def test_runs_from_when_it_is_made(clock):
    watch = Stopwatch()
    assert watch.seconds == 0
    clock.now += 3
    assert watch.seconds == 3
    assert watch.seconds == 3


def test_what_is_done_in_a_pause_does_not_count(clock):
    watch = Stopwatch()
    clock.now += 1
    with watch.paused():
        clock.now += 10
    clock.now += 2
    with watch.paused():
        clock.now += 10
    assert watch.seconds == 3


def test_a_pause_within_a_pause_counts_once(clock):
    watch = Stopwatch()
    with watch.paused():
        clock.now += 1
        with watch.paused():
            clock.now += 10
        clock.now += 1
    clock.now += 4
    assert watch.seconds == 4


def test_an_error_ends_the_pause(clock):
    watch = Stopwatch()
    with pytest.raises(RuntimeError), watch.paused():
        clock.now += 10
        raise RuntimeError
    clock.now += 4
    assert watch.seconds == 4
    with watch.paused():
        clock.now += 1
    assert watch.seconds == 4
