"""What goes wrong is said in one line or logged with its traceback; what was finished stays."""

import errno
import os
import signal
import sqlite3
import time
from contextlib import closing
from functools import partial

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

import effbench
from effbench.run.store import Store

TROUBLED = """
import os
import signal
from pathlib import Path

from torch import nn


class Troubled(nn.Module):
    def __init__(self, alpha, num_classes, in_channels):
        super().__init__()
        self.alpha = alpha
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, 4, 3, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 49, num_classes)
        )

    def forward(self, images):
        trouble = Path(os.environ.get("TROUBLE", "nowhere"))
        if self.training and len(images) > 2 and trouble.exists():  # not while it is tried out
            if self.alpha == 0.5:
                raise ArithmeticError("the user's own mistake")
            if self.alpha == 0.25:
                raise MemoryError("cannot allocate 99 GB")
            if self.alpha == 0.75:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.alpha == 1.5:
                os.abort()
        return self.layers(images)


def troubled(*, alpha=1.0, num_classes=10, in_channels=1):
    return Troubled(alpha, num_classes, in_channels)
"""


@pytest.fixture
def trouble(folder, own_network, monkeypatch):
    """Return a file that makes some of the runs fail as long as it is there."""
    path = folder.path / "trouble"
    path.touch()
    monkeypatch.setenv("TROUBLE", str(path))
    own_network(TROUBLED, name="troubled_networks")
    return path


def points(runs):
    return sorted(run.data.tags["effbench.point"] for run in runs)


def test_a_run_that_fails_is_logged_and_the_same_command_tries_just_that_one_again(folder, sweep, trouble):
    command = "model._target_=troubled_networks.troubled +alpha=0.25,0.5,2"
    status, out, err = sweep(command)
    assert status == 1
    assert "Traceback" not in out + err
    assert "failed: alpha=0.5, seed=0: ArithmeticError: the user's own mistake" in out
    assert "failed: alpha=0.25, seed=0: MemoryError: cannot allocate 99 GB" in out
    assert "tries the failed runs again" in out
    assert points(folder.children("FINISHED")) == ["alpha=2", "reference"]
    failed = folder.children("FAILED")
    assert points(failed) == ["alpha=0.25", "alpha=0.5"]
    for run in failed:
        trace = folder.artifact(run, "traceback.txt").read_text()
        assert trace.startswith("Traceback")
        assert "troubled_networks.py" in trace
        assert run.data.tags["effbench.error"] == trace.strip().splitlines()[-1]
    (parent,) = folder.parents()
    assert parent.info.status == "FAILED"
    assert parent.data.metrics["n_failed"] == 2
    frame = folder.frame()
    assert len(frame) == 2
    assert sorted(status for _, _, status, _ in frame.attrs["unfinished"]) == ["FAILED", "FAILED"]

    trouble.unlink()
    finished = {run.info.run_id for run in folder.children("FINISHED")}
    status, out, err = sweep(command)
    assert (status, err) == (0, "")
    again = folder.children("FINISHED")
    assert points(again) == ["alpha=0.25", "alpha=0.5", "alpha=2", "reference"]
    assert finished < {run.info.run_id for run in again}
    assert len(folder.children()) == 6
    assert [run.info.status for run in folder.parents()] == ["FINISHED"]


@pytest.mark.waiting
def test_a_worker_that_is_killed_fails_its_run_alone(folder, trouble):
    quick = (
        "train.epochs=1 finetune.epochs=1 train.fraction=0.1 measure.seconds=0.02 measure.disturbed=keep sweep.jobs=2"
    )
    # In a process of its own: workers have the environment of whoever began them first.
    finished = folder.run(f"model._target_=troubled_networks.troubled +alpha=0.75,1.5,2,3 {quick}")
    assert finished.returncode == 1
    reason = "the worker process died (signal SIGKILL); out of memory?"
    assert f"failed: alpha=0.75, seed=0: {reason}" in finished.stdout
    reason = "the worker process died (signal SIGABRT); a library crashed, or memory ran out? train.layout=contiguous"
    assert f"failed: alpha=1.5, seed=0: {reason}" in " ".join(finished.stdout.split())
    assert points(folder.children("FINISHED")) == ["alpha=2", "alpha=3", "reference"]
    assert points(folder.children("FAILED")) == ["alpha=0.75", "alpha=1.5"]


def test_a_loss_that_is_not_finite_fails_the_run_and_says_what_may_help(folder, sweep):
    status, out, err = sweep("+prune=0.5 train.lr=1e30")
    assert status == 1
    assert "FloatingPointError" in out
    assert "a lower lr may help" in out
    assert "Traceback" not in out + err
    assert points(folder.children("FAILED")) == ["prune=0.5", "reference"]
    assert not folder.children("FINISHED")


def finished_runs(database):
    """Return how many runs MLflow has as FINISHED; 0 while the database is being made."""
    try:
        with closing(sqlite3.connect(database.as_uri() + "?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT count(*) FROM runs WHERE status = 'FINISHED'").fetchone()[0]
    except sqlite3.OperationalError:
        return 0


@pytest.mark.waiting
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_closes_everything_and_says_how_to_go_on(folder, number):
    # Long enough: the first runs begin before MLflow is there to log them.
    command = (
        "+prune=0.3,0.6,0.9 +seed=0,1,2 train.epochs=3 finetune.epochs=12 "
        "measure.seconds=0.02 measure.disturbed=keep sweep.jobs=2"
    )
    # Where the tests themselves run in the background, Ctrl-C is ignored, and what they start would inherit that.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    if number == signal.SIGTERM:
        folder.program = ("effbench.cli", "sweep")  # the console script's way in
    process = folder.start(command, start_new_session=True, preexec_fn=heed)
    for _ in range(2400):
        if process.poll() is not None or finished_runs(folder.path / "mlflow.db"):
            break
        time.sleep(0.05)
    time.sleep(0.3)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert err == "effbench: interrupted; the same command goes on where this one stopped\n"
    (parent,) = folder.parents()
    assert parent.info.status == "KILLED"
    assert not folder.children("RUNNING")
    for _ in range(200):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("a worker outlived the sweep")


def test_a_full_disk_ends_the_sweep_in_one_line_and_what_was_finished_stays(folder, sweep, monkeypatch):
    put = Store.put

    def full(store, name, content):
        if name.startswith("runs/") and len(list((store.root / "entries" / "runs").glob("*.json"))) >= 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        put(store, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", full)
        status, _, err = sweep("+prune=0.5,0.9")
    assert status == 1
    assert len(err.strip().splitlines()) == 1
    assert "No space left on device" in err
    assert "what was finished is kept" in err
    assert points(folder.children("FINISHED")) == ["reference"]
    assert not folder.children("RUNNING")
    assert [run.info.status for run in folder.parents()] == ["KILLED"]
    assert sweep("+prune=0.5,0.9")[0] == 0
    assert len(folder.children("FINISHED")) == 3
    assert [run.data.tags["effbench.point"] for run in folder.children("KILLED")] == ["prune=0.5"]  # that was at work


def test_while_a_database_does_not_answer_the_sweep_goes_on_and_says_what_is_not_logged(folder, sweep, monkeypatch):
    create = MlflowClient.create_run

    def locked(client, experiment, start, tags, *others):
        if "effbench.run_key" in tags and folder.children("FINISHED"):
            raise MlflowException("(sqlite3.OperationalError) database is locked\n[SQL: INSERT INTO …]")
        return create(client, experiment, start, tags, *others)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_run", locked)
        status, out, err = sweep("+prune=0.5,0.9")
    assert status == 1
    first, last = err.strip().splitlines()
    assert "database is locked" in first and first.endswith(
        "the sweep goes on, and logs at its end what it can't log now"
    )
    assert "not logged: 2 of 3 runs (" in last and last.endswith("; the same command logs what is missing")
    assert "size_bytes:" in out
    assert points(folder.children("FINISHED")) == ["reference"]
    with monkeypatch.context() as patch:
        patch.setattr("effbench.run.one.make_model", lambda *_, **__: pytest.fail("computed again"))
        status, again, err = sweep("+prune=0.5,0.9")
    assert (status, err) == (0, "")
    assert again.splitlines()[:6] == out.splitlines()[:6]
    assert points(folder.children("FINISHED")) == ["prune=0.5", "prune=0.9", "reference"]
    assert [run.info.status for run in folder.parents()] == ["FINISHED"]
    assert not folder.children("RUNNING")


@pytest.mark.waiting
def test_a_run_that_hangs_fails_at_its_limit_and_the_others_are_finished(folder, trouble):
    code = folder.path / "code" / "troubled_networks.py"
    code.write_text(code.read_text().replace("os.abort()", "__import__('time').sleep(600)"))
    quick = (
        "train.epochs=1 finetune.epochs=0 train.fraction=0.1 "
        "measure.seconds=0.02 measure.disturbed=keep sweep.jobs=2 sweep.timeout=4"
    )
    finished = folder.run(f"model._target_=troubled_networks.troubled +alpha=1.5,2 {quick}")
    assert finished.returncode == 1
    reason = "took longer than sweep.timeout=4 seconds; its process was ended"
    assert f"failed: alpha=1.5, seed=0: {reason}" in finished.stdout
    assert points(folder.children("FINISHED")) == ["alpha=2", "reference"]
    assert points(folder.children("FAILED")) == ["alpha=1.5"]


def test_a_locked_database_is_said_so(folder, sweep, monkeypatch):
    monkeypatch.setattr("effbench.tracking.relocation.LOCK_SECONDS", 0.1)
    lock = sqlite3.connect(folder.path / "mlflow.db", isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
        status, out, err = sweep("+prune=0.9")
    finally:
        lock.close()
    assert status == 1
    assert len(err.strip().splitlines()) == 1
    assert "locked" in err and "move that file" not in err
    assert "mlflow.db" in err
    assert out == ""


def test_a_broken_database_is_refused(folder, sweep):
    (folder.path / "mlflow.db").write_bytes(b"this was a database once" * 100)
    status, out, err = sweep("+prune=0.9")
    assert status == 1
    assert len(err.strip().splitlines()) == 1
    assert "mlflow.db" in err
    assert "not a database" in err and "move that file away" in err
    assert out == ""
    with pytest.raises(ValueError, match="not a database"):
        effbench.load_runs()
