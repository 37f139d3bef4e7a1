"""Threads are held to a few cores and let go again; what other processes take is watched."""

import multiprocessing
import os
import threading
import time
from types import SimpleNamespace

import psutil
import pytest

from effbench.measure import cores
from effbench.measure.cores import OthersWatch, held_to, is_crowded, n_cores

ON_LINUX = hasattr(os, "sched_getaffinity") and cores._TASKS.is_dir()
needs_two = pytest.mark.skipif(
    not ON_LINUX or len(os.sched_getaffinity(0)) < 2, reason="threads can't be held to some of several cores here"
)


@needs_two
def test_all_threads_are_held_and_let_go_again():
    before = os.sched_getaffinity(0)
    ended, seen = threading.Event(), []
    thread = threading.Thread(target=ended.wait)
    thread.start()
    try:
        with held_to(1) as numbers:
            assert len(numbers) == 1 and set(numbers) <= before
            assert os.sched_getaffinity(thread.native_id) == os.sched_getaffinity(0) == set(numbers)
            later = threading.Thread(target=lambda: seen.append(os.sched_getaffinity(0)))
            later.start()
            later.join()
        assert seen == [set(numbers)]
        assert os.sched_getaffinity(thread.native_id) == os.sched_getaffinity(0) == before
    finally:
        ended.set()
        thread.join()


@needs_two
def test_they_are_let_go_after_an_error_and_where_a_thread_has_ended():
    before = os.sched_getaffinity(0)
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    with pytest.raises(RuntimeError, match="no"), held_to(1):
        ended.set()
        thread.join()
        raise RuntimeError("no")
    assert os.sched_getaffinity(0) == before


def test_where_there_are_not_more_cores_nothing_is_held():
    with held_to(10_000) as numbers:
        assert numbers == ()


def test_where_the_system_can_not_do_it_nothing_is_held(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    with held_to(1) as numbers:
        assert numbers == ()


@pytest.mark.parametrize(
    ("allowed", "busy", "n", "expected"),
    [
        ({0, 1, 2, 3}, [90.0, 0.0, 50.0, 2.0], 2, [1, 3]),
        ({0, 1, 2, 3}, [1.0, 0.0, 2.0, 3.0], 1, [3]),  # all idle: not the system's own
        ({0, 1, 2, 3}, [1.0, 0.0, 2.0, 3.0], 3, [1, 2, 3]),
        ({0, 2}, [0.0, 0.0, 80.0, 0.0], 1, [0]),  # only those that the process may use
        ({0, 5}, [80.0], 1, [5]),  # one that is not counted
    ],
)
def test_the_least_busy_are_chosen(allowed, busy, n, expected, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: allowed, raising=False)
    monkeypatch.setattr(cores, "_TASKS", SimpleNamespace(is_dir=lambda: True))
    monkeypatch.setattr(psutil, "cpu_percent", lambda seconds, percpu: busy)
    assert cores._least_busy(n) == expected


def compute(seconds):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        pass


class Clock:
    """What the system counts: the time, seconds for which all cores were busy, those of this process."""

    def __init__(self, *readings):
        self.readings = list(readings)

    def __call__(self):
        return self.readings.pop(0)


def test_what_others_took_is_all_that_was_not_this_process(monkeypatch):
    watch = OthersWatch()
    assert watch.cores_busy == 0.0
    monkeypatch.setattr(watch, "_now", Clock((0.0, 100.0, 50.0), (10.0, 125.0, 60.0)))
    with watch.watching():
        pass
    assert watch.cores_busy == pytest.approx(1.5)
    monkeypatch.setattr(watch, "_now", Clock((20.0, 200.0, 70.0), (30.0, 210.0, 80.0)))
    with watch.watching():  # nobody else
        pass
    assert watch.cores_busy == pytest.approx(0.75)  # of all that was watched


def test_clocks_that_are_read_one_after_the_other_never_give_less_than_nothing(monkeypatch):
    watch = OthersWatch()
    monkeypatch.setattr(watch, "_now", Clock((0.0, 100.0, 50.0), (1.0, 100.9, 51.0)))
    with watch.watching():
        pass
    assert watch.cores_busy == 0.0


def test_a_process_that_computes_for_this_one_is_none_of_the_others(monkeypatch):
    seconds = {os.getpid(): 1.0, 71: 4.0}

    class Process:
        def __init__(self, number):
            if number not in seconds:
                raise psutil.NoSuchProcess(number)
            self.cpu_times = lambda: SimpleNamespace(user=seconds[number], system=0.5)

    monkeypatch.setattr(cores.psutil, "Process", Process)
    assert OthersWatch._now()[2] == 1.5
    for number in (71, 72):  # the second has ended
        cores.count_as_own(number)
    assert OthersWatch._now()[2] == 6.0
    for number in (71, 72):
        cores.count_as_others(number)
    assert OthersWatch._now()[2] == 1.5


def test_what_is_watched_counts_also_where_it_fails():
    watch = OthersWatch()
    with pytest.raises(RuntimeError), watch.watching():
        raise RuntimeError
    assert watch._seconds > 0


@pytest.mark.extended
def test_another_process_that_computes_is_seen():
    """And this one that computes is not: at most what others did before is left."""
    other = multiprocessing.get_context("spawn").Process(target=compute, args=(30.0,))
    other.start()
    try:
        time.sleep(0.5)
        deadline, own = time.monotonic() + 10, psutil.Process(other.pid)
        while own.cpu_times().user < 0.2 and time.monotonic() < deadline:
            time.sleep(0.05)
        watch, before, began = OthersWatch(), own.cpu_times(), time.monotonic()
        with watch.watching():
            time.sleep(1.0)
        taken = (sum(own.cpu_times()[:2]) - sum(before[:2])) / (time.monotonic() - began)
    finally:
        other.terminate()
        other.join()
    assert watch.cores_busy > 0.5 * taken > 0


@pytest.mark.parametrize(
    ("others_busy", "threads", "expected"),
    [
        (0.0, 1, False),
        (0.0, 4, False),
        (0.2, 4, False),
        (0.3, 4, True),
        (3.2, 1, False),
        (3.3, 1, True),
        (0.0, 5, False),  # more threads than cores are crowded by nobody else
    ],
)
def test_a_machine_is_crowded_where_threads_and_others_are_more_than_its_cores(
    others_busy, threads, expected, monkeypatch
):
    monkeypatch.setattr(cores, "n_cores", lambda: 4)
    assert is_crowded(others_busy, threads=threads) == expected


def test_there_is_at_least_one_core(monkeypatch):
    assert n_cores() == os.cpu_count()
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert n_cores() == 1
