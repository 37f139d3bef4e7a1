"""Points in this process and in workers: order, failures, dead workers, parents that are gone."""

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from effbench.config.read import read_sweep
from effbench.run import workers as execute
from effbench.run.store import Store
from effbench.run.outcomes import RunError
from effbench.run.workers import _Queue
from effbench.run.executors import choose_executor, run_here


def point(key, *prefix):
    return SimpleNamespace(key=key, chain=SimpleNamespace(shared_keys=prefix, threads=1))


class Silence:
    def __init__(self):
        self.started, self.computed = [], []

    def run_started(self, point):
        self.started.append(point.key)

    def step(self, point, step, done, total): ...

    def run_computed(self, point):
        self.computed.append(point.key)


def test_a_point_waits_for_the_first_with_its_own_beginnings():
    queue = _Queue(
        [point("reference", "t", "f"), point("half", "t", "p1"), point("tenth", "t", "p2"), point("other", "u")]
    )
    assert queue.take().key == "reference"
    assert queue.take().key == "other"
    assert queue.take() is None
    queue.finish(point("other"))
    assert queue.take() is None
    queue.finish(point("reference"))
    assert [queue.take().key, queue.take().key] == ["half", "tenth"]
    assert not queue.is_empty
    queue.finish(point("half"))
    queue.finish(point("tenth"))
    assert queue.is_empty


def test_a_fresh_network_in_common_makes_nobody_wait():
    queue = _Queue([point("a", "t1"), point("b", "t2")])
    assert [queue.take().key, queue.take().key] == ["a", "b"]


def test_here_a_failure_does_not_stop_the_next(monkeypatch, tmp_path):
    def run(point, store, *, device, progress):
        progress("train", 1, 2)
        if point.key == "bad":
            raise ValueError("bad\nand more")
        return point.key

    monkeypatch.setattr(execute, "run_point", run)
    observer = Silence()
    ended = list(run_here([point("bad"), point("good")], Store(tmp_path), torch.device("cpu"), observer))
    assert [type(result) for _, result in ended] == [RunError, str]
    assert ended[0][1].summary == "ValueError: bad"
    assert "in run" in ended[0][1].trace
    assert observer.computed == ["bad", "good"]
    assert observer.started == ["bad", "good"]


def test_ctrl_c_is_no_failed_run(monkeypatch, tmp_path):
    def run(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(execute, "run_point", run)
    with pytest.raises(KeyboardInterrupt):
        list(run_here([point("a")], Store(tmp_path), torch.device("cpu"), Silence()))


def test_as_many_workers_as_there_is_work_and_cores(monkeypatch, tmp_path):
    monkeypatch.setattr(execute, "begin_server", lambda: None)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    store, cpu = Store(tmp_path), torch.device("cpu")
    points = [point(str(number)) for number in range(6)]
    assert choose_executor(points, store, cpu, jobs=None).keywords == {"n_workers": 4}
    assert choose_executor(points[:3], store, cpu, jobs=None).keywords == {"n_workers": 3}
    assert choose_executor(points, store, cpu, jobs=2).keywords == {"n_workers": 2}
    assert choose_executor(points, store, cpu, jobs=1) is run_here
    assert choose_executor(points[:1], store, cpu, jobs=8) is run_here
    assert choose_executor(points, store, torch.device("cuda"), jobs=None) is run_here
    for other in points:
        other.threads = 4
    assert choose_executor(points, store, cpu, jobs=None) is run_here


def test_an_error_from_a_worker_keeps_type_text_trace_and_number():
    try:
        raise OSError(28, "No space left on device")
    except OSError as error:
        sent = RunError.of(error)
    import pickle

    kept = pickle.loads(pickle.dumps(sent))
    assert str(kept) == "OSError: [Errno 28] No space left on device"
    assert kept.trace.startswith("Traceback")
    assert kept.errno == 28
    assert RunError.of(ValueError("x")).errno is None


PARENT = """
from pathlib import Path

import torch
from effbench.config.sweep import read_sweep
from effbench.execute import run_in_workers
from effbench.store import Store

class Silence:
    def run_started(self, point): print("started", flush=True)
    def step(self, *_): ...
    def run_computed(self, point): ...

if __name__ == "__main__":
    sweep = read_sweep(["train.lr=0.001,0.002", "train.epochs=500", "train.batch_size=512"])
    store, cpu = Store(Path("store")), torch.device("cpu")
    list(run_in_workers(sweep.plan.points, store, cpu, Silence(), n_workers=2))
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc")
def test_workers_end_by_themselves_when_their_parent_is_gone(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    process = subprocess.Popen([sys.executable, "parent.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "started\n"
    assert process.stdout.readline() == "started\n"
    time.sleep(1)

    def here():
        found = []
        for name in os.listdir("/proc"):
            try:
                if name.isdigit() and os.readlink(f"/proc/{name}/cwd") == str(tmp_path):
                    found.append(int(name))
            except OSError:
                continue
        return found

    assert len(here()) >= 3
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    for _ in range(200):
        if not here():
            return
        time.sleep(0.05)
    pytest.fail(f"still there: {here()}")


def test_the_plan_of_a_sweep_can_be_sent_to_a_worker():
    import pickle

    planned = read_sweep(["prune=0.5", "bits=4"]).plan
    for sent in planned.points:
        assert pickle.loads(pickle.dumps(sent)).key == sent.key
