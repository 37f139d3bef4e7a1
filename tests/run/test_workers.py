"""Points in workers: their order, workers that die, parents that are gone."""

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch

from effbench.config.read import read_sweep
from effbench.run import workers
from effbench.run.executors import run_here
from effbench.run.outcomes import RunError
from effbench.run.results import RunResult
from effbench.run.store import Store
from effbench.run.workers import run_in_workers


class Recorder:
    """An observer that remembers which points began, worked and were computed."""

    def __init__(self):
        self.started, self.worked, self.computed, self.epochs = [], set(), [], {}
        self.began = {}

    def run_began(self, point, seconds):
        self.began[point.key] = seconds

    def run_started(self, point):
        self.started.append(point.key)

    def step(self, point, step, done, total):
        self.worked.add((point.key, step))

    def epoch_ended(self, point, row):
        self.epochs.setdefault(point.key, []).append((row["step"], row["epoch"]))

    def run_computed(self, point):
        self.computed.append(point.key)


def test_workers_give_the_results_of_this_process_and_an_error_fails_its_run_alone(tmp_path, tiny_points):
    points = tiny_points("prune=0.5,0.97", "+prune_granularity=row")
    store, cpu, observer = Store(tmp_path / "workers"), torch.device("cpu"), Recorder()
    ended = dict((point.label, outcome) for point, outcome in run_in_workers(points, store, cpu, observer, n_workers=2))
    failed = ended.pop("prune=0.97, prune_granularity=row")
    assert isinstance(failed, RunError)
    assert failed.summary.startswith("ValueError: ratio=0.97: must be at most")
    assert "prune.py" in failed.trace
    here = {point.label: outcome for point, outcome in run_here(points, Store(tmp_path / "here"), cpu, Recorder())}
    for label, result in ended.items():
        assert isinstance(result, RunResult)
        assert result.blob == here[label].blob
    assert observer.started[0] == points[0].key
    assert sorted(observer.computed) == sorted(point.key for point in points)
    assert (points[0].key, "train") in observer.worked
    assert observer.epochs[points[0].key] == [("train", 1), ("finetune", 2)]


PARENT = """
from pathlib import Path

import torch
from effbench.config.read import read_sweep
from effbench.run.store import Store
from effbench.run.forkserver import begin_server
from effbench.run.workers import run_in_workers

class Silence:
    def run_began(self, point, seconds): ...

    def run_started(self, point): print("started", flush=True)
    def step(self, *_): ...
    def epoch_ended(self, *_): ...
    def run_computed(self, point): ...

if __name__ == "__main__":
    begin_server()
    sweep = read_sweep(["train.lr=0.001,0.002", "train.epochs=500", "train.batch_size=512"])
    store, cpu = Store(Path("store")), torch.device("cpu")
    list(run_in_workers(sweep.plan.points, store, cpu, Silence(), n_workers=2))
"""


@pytest.fixture
def short_folder():
    """A folder whose path leaves room for a socket, which pytest's own may not."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.waiting
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc")
def test_workers_end_by_themselves_when_their_parent_is_gone(tmp_path, short_folder):
    (tmp_path / "parent.py").write_text(PARENT)
    process = subprocess.Popen(
        [sys.executable, "parent.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(short_folder)},
    )
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
            assert not list(short_folder.glob("pymp-*"))  # the server has taken its socket's folder away
            return
        time.sleep(0.05)
    pytest.fail(f"still there: {here()}")


def test_the_plan_of_a_sweep_can_be_sent_to_a_worker():
    planned = read_sweep(["prune=0.5", "bits=4"]).plan
    for sent in planned.points:
        assert pickle.loads(pickle.dumps(sent)).key == sent.key


def test_the_time_in_which_a_run_waits_for_another_process_is_not_its_own(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(workers._Worker, "__post_init__", lambda self: None)
    monkeypatch.setattr(workers.time, "monotonic", lambda: now[0])
    worker = workers._Worker(parcel=None, store=None, device=None, timeout=10.0)
    worker._note_time(workers._GOES_ON)
    assert worker.deadline is None
    worker._note_time(workers._BEGUN)
    now[0] = 104.0
    worker._note_time(workers._WAITS)
    now[0] = 1000.0
    assert not worker.is_late
    worker._note_time(workers._GOES_ON)
    assert worker.deadline == 1006.0
    worker._note_time(("train", 1, 2))
    now[0] = 1006.0
    assert worker.is_late


def test_a_worker_tells_of_its_waits(tmp_path, tiny_points):
    (point,) = tiny_points("prune=0.5")[:1]
    store, recorder = Store(tmp_path / "store"), Recorder()
    with store.lock(point.key):
        runs = run_in_workers([point], store, torch.device("cpu"), recorder, n_workers=1, timeout=120)
        time.sleep(0.5)
    ((_, outcome),) = runs
    assert isinstance(outcome, RunResult)
    assert not any(step == "" for _, step in recorder.worked)
