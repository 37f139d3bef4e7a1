"""Points in this process, and when workers pay off."""

import os
import sys
from types import SimpleNamespace

import pytest
import torch

from effbench.run import executors
from effbench.run.executors import choose_executor, run_here
from effbench.run.outcomes import RunError
from effbench.run.store import Store

CPU = torch.device("cpu")


def point(key, *, threads=1):
    return SimpleNamespace(key=key, chain=SimpleNamespace(shared_keys=(), threads=threads))


class Recorder:
    """An observer that remembers."""

    def __init__(self):
        self.told = []
        self.began = {}

    def run_began(self, point, seconds):
        self.began[point.key] = seconds

    def run_started(self, point):
        self.told.append(("started", point.key))

    def step(self, point, step, done, total):
        self.told.append((step, point.key, done, total))

    def epoch_ended(self, point, row):
        self.told.append(("epoch", point.key, row["epoch"]))

    def run_computed(self, point):
        self.told.append(("computed", point.key))


def test_here_a_failure_does_not_stop_the_next(monkeypatch, tmp_path):
    def run(point, store, *, device, progress, tell, begin):
        begin(1000.0)
        progress("train", 1, 2)
        tell({"epoch": 1})
        if point.key == "bad":
            raise ValueError("bad\nand more")
        return point.key

    monkeypatch.setattr(executors, "run_point", run)
    observer = Recorder()
    ended = list(run_here([point("bad"), point("good")], Store(tmp_path), CPU, observer))
    assert [type(result) for _, result in ended] == [RunError, str]
    assert ended[0][1].summary == "ValueError: bad"
    assert observer.began == {"bad": 1000.0, "good": 1000.0}
    assert "in run" in ended[0][1].trace
    assert observer.told == [
        entry
        for key in ("bad", "good")
        for entry in (("started", key), ("train", key, 1, 2), ("epoch", key, 1), ("computed", key))
    ]


def test_a_network_that_wants_to_end_the_process_fails_its_run_alone(monkeypatch, tmp_path):
    def run(point, *_, **__):
        if point.key == "ends":
            sys.exit(0)
        return point.key

    monkeypatch.setattr(executors, "run_point", run)
    ended = list(run_here([point("ends"), point("good")], Store(tmp_path), CPU, Recorder()))
    assert ended[0][1].summary == "SystemExit: 0"
    assert ended[1][1] == "good"


def test_here_nothing_begins_before_its_result_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(executors, "run_point", lambda point, *_, **__: point.key)
    observer = Recorder()
    runs = run_here([point("a"), point("b")], Store(tmp_path), CPU, observer)
    assert observer.told == []
    assert next(runs)[1] == "a"
    assert observer.told == [("started", "a"), ("computed", "a")]


def test_ctrl_c_is_no_failed_run(monkeypatch, tmp_path):
    def run(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(executors, "run_point", run)
    with pytest.raises(KeyboardInterrupt):
        list(run_here([point("a")], Store(tmp_path), CPU, Recorder()))


@pytest.fixture
def begun(monkeypatch):
    """A machine of four cores, and how often a server was begun for workers."""
    calls = []
    monkeypatch.setattr(executors, "begin_server", lambda: calls.append(1))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    return calls


def workers(n_workers, timeout=None):
    return {"n_workers": n_workers, "timeout": timeout}


def test_as_many_workers_as_there_is_work_and_cores(begun, tmp_path):
    store, points = Store(tmp_path), [point(str(number)) for number in range(6)]
    assert choose_executor(points, store, CPU, jobs=None).keywords == workers(4)
    assert choose_executor(points[:3], store, CPU, jobs=None).keywords == workers(3)
    assert choose_executor(points[:1], store, CPU, jobs=8).keywords == workers(1)
    assert choose_executor(points, store, CPU, jobs=2).keywords == workers(2)
    assert choose_executor(points, store, torch.device("cuda"), jobs=None).keywords == workers(1)
    assert len(begun) == 5
    two_threads = [point(str(number), threads=2) for number in range(6)]
    assert choose_executor(two_threads, store, CPU, jobs=None).keywords == workers(2)
    assert choose_executor([*points, point("wide", threads=4)], store, CPU, jobs=None).keywords == workers(1)


def test_this_process_where_one_job_is_asked_for_or_there_is_none(begun, tmp_path):
    store, points = Store(tmp_path), [point(str(number)) for number in range(6)]
    assert choose_executor(points, store, CPU, jobs=1) is run_here
    assert choose_executor([], store, CPU, jobs=8) is run_here
    assert begun == []


def test_what_may_have_to_be_ended_is_never_this_process(begun, tmp_path):
    chosen = choose_executor([point("a")], Store(tmp_path), CPU, jobs=1, timeout=5.0)
    assert chosen.keywords == workers(1, timeout=5.0)


def test_runs_that_are_kept_need_no_worker(begun, tmp_path):
    store, points = Store(tmp_path), [point(str(number)) for number in range(6)]
    for kept in points[:5]:
        store.put_json(f"runs/{kept.key}.json", {})
    assert choose_executor(points, store, CPU, jobs=8).keywords == workers(1)
    store.put_json(f"runs/{points[5].key}.json", {})
    assert choose_executor(points, store, CPU, jobs=8) is run_here
