"""Nothing lost, nothing twice: the same command again, after kill -9, at the same time, and with a damaged store."""

import math
import os
import random
import shlex
import shutil
import signal
import time

import pytest

from effbench.training.trainer import Trainer

QUICK = "train.epochs=1 finetune.epochs=1 train.fraction=0.1 measure.seconds=0.02 measure.disturbed=keep"
SIX = f"+prune=0.3,0.6,0.9 +seed=0,1 {QUICK} sweep.jobs=2"


def test_the_same_command_again_changes_nothing(folder, sweep):
    status, out, _ = sweep("+prune=0.5,0.9")
    assert status == 0
    before = {run.info.run_id: (run.info.end_time, run.data.metrics) for run in folder.children()}
    status, again, err = sweep("prune=0.9,0.5")
    assert (status, err) == (0, "")
    assert again.splitlines()[:8] == out.splitlines()[:8]  # the table, with the latencies that were measured then
    assert {run.info.run_id: (run.info.end_time, run.data.metrics) for run in folder.children()} == before
    (parent,) = folder.parents()
    assert parent.info.status == "FINISHED"
    for run in folder.children():
        history = folder.client.get_metric_history(run.info.run_id, "latency_ms/eager")
        assert len(history) == 1


def test_a_point_that_another_sweep_computed_is_logged_with_its_origin(folder, sweep):
    sweep("+prune=0.5")
    sweep("+prune=0.5,0.9")
    first, second = sorted(folder.parents(), key=lambda run: run.info.start_time)
    children = {
        parent.info.run_id: {
            run.data.tags["effbench.point"]: run
            for run in folder.children()
            if run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        }
        for parent in (first, second)
    }
    original, later = children[first.info.run_id], children[second.info.run_id]
    assert set(later) == {"reference", "prune=0.5", "prune=0.9"}
    for label in ("reference", "prune=0.5"):
        assert later[label].data.tags["effbench.reused_from"] == original[label].info.run_id
        assert later[label].data.metrics["accuracy"] == original[label].data.metrics["accuracy"]
        assert "effbench.reused_from" not in original[label].data.tags
    assert "effbench.reused_from" not in later["prune=0.9"].data.tags
    assert len(folder.frame()) == 3  # each run key once
    assert len(folder.frame(sweep=first.data.tags["effbench.sweep"])) == 2


def processes_in(folder):
    """Return the ids of the processes whose working folder is the sweep's: it and its workers."""
    found = set()
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and int(name) != os.getpid() and os.readlink(f"/proc/{name}/cwd") == str(folder.path):
                found.add(int(name))
        except OSError:
            continue
    return found


def wait_until(condition, seconds=60):
    for _ in range(int(seconds / 0.05)):
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, empty_database, at):
    """Return the results of the sweep that the tests disturb."""
    from effbench.sweep.__main__ import main

    folder = at(tmp_path_factory.mktemp("undisturbed"))
    shutil.copy(empty_database, folder.path / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.path)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert main(shlex.split(SIX.replace("jobs=2", "jobs=1"))) == 0
    return folder.results()


@pytest.mark.waiting
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc")
def test_kill_9_at_any_moment_loses_nothing_and_doubles_nothing(folder, undisturbed):
    chance = random.Random(20240607)
    entries = folder.path / ".effbench" / "entries" / "runs"
    n_killed = 0
    for _ in range(3):
        process = folder.start(SIX)
        n_before = len(list(entries.glob("*.json"))) if entries.exists() else 0
        # From the moment a run was kept on, so that it is killed at work and not while it imports.
        wait_until(
            lambda n=n_before, p=process: (
                p.poll() is not None or (entries.exists() and len(list(entries.glob("*.json"))) > n)
            )
        )
        time.sleep(chance.uniform(0, 0.6))
        workers = processes_in(folder) - {process.pid}
        process.kill()
        process.communicate()
        n_killed += process.returncode == -signal.SIGKILL
        assert wait_until(lambda: not processes_in(folder), 15), f"orphans of {workers}: {processes_in(folder)}"
    assert n_killed >= 1
    finished = folder.run(SIX)
    assert finished.returncode == 0, finished.stderr
    assert [run.info.status for run in folder.parents()] == ["FINISHED"]
    assert not folder.children("RUNNING")
    assert folder.results() == undisturbed


SLOW = "+prune=0.5 train.epochs=12 finetune.epochs=1 train.checkpoint=0"
LONG = f"{SLOW} measure.seconds=0.02 measure.disturbed=keep sweep.jobs=1"


@pytest.mark.waiting
def test_a_training_that_was_killed_goes_on_from_its_last_epoch_and_its_curve_is_there_meanwhile(folder, sweep, at):
    """In MLflow the points come while the run goes on; the same command then trains the missing epochs alone."""

    def curve():
        time.sleep(0.3)  # each time is a search in MLflow, beside a training
        found = [run for run in folder.children("RUNNING") if "curve/train/loss" in run.data.metrics]
        return found and folder.client.get_metric_history(found[0].info.run_id, "curve/train/loss")

    checkpoints = folder.path / ".effbench" / "entries" / "checkpoints"
    process = folder.start(LONG)
    assert wait_until(lambda: (len(curve() or ()) >= 3 and [*checkpoints.glob("*")]) or process.poll() is not None)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    (kept,) = checkpoints.iterdir()
    assert not (folder.path / ".effbench" / "entries" / "models").exists()
    told = []
    with pytest.MonkeyPatch.context() as patch:
        trained = Trainer.step
        patch.setattr(Trainer, "step", lambda *arguments: told.append(1) or trained(*arguments))
        assert sweep(LONG, quick=False)[0] == 0
    n_batches = math.ceil(3000 / 64)
    assert len(told) <= (12 - 1) * n_batches + 2 * n_batches  # an epoch at least was there; each run has a finetuning
    assert not kept.exists()
    (killed,) = folder.children("KILLED")
    assert killed.data.tags["effbench.run_key"] == folder.children("FINISHED")[0].data.tags["effbench.run_key"]
    for run in folder.children("FINISHED"):
        history = folder.client.get_metric_history(run.info.run_id, "curve/train/loss")
        assert [point.step for point in history] == list(range(1, 13))
    alone = at(folder.path / "alone")
    alone.path.mkdir()
    assert sweep(f"{LONG} store.root=alone/store tracking.uri=sqlite:///alone/mlflow.db", quick=False)[0] == 0
    assert alone.results() == folder.results()


@pytest.mark.waiting
def test_two_identical_sweeps_at_once_do_not_double_it(folder, undisturbed):
    both = [folder.start(SIX), folder.start(SIX)]
    ended = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    assert len(folder.parents()) == 1
    assert len(folder.children()) == 8
    assert folder.results() == undisturbed
    points = [[line.split()[0] for line in out.split("figure:")[0].splitlines() if line.strip()] for out, _ in ended]
    assert points[0] == points[1]
    assert sum("waiting for it" in err for _, err in ended) <= 1


def test_a_damaged_result_is_named_and_computed_again(folder, sweep, caplog):
    assert sweep("+prune=0.9")[0] == 0
    before = folder.results()
    for part in ("runs/*.json", "runs/*.effb", "runs/*.npz"):
        victim = sorted((folder.path / ".effbench" / "entries").glob(part))[0]
        content = bytearray(victim.read_bytes())
        content[len(content) // 2] ^= 0x10
        victim.write_bytes(content)
        caplog.clear()
        status, _, _ = sweep("+prune=0.9")
        assert status == 0, part
        assert any(victim.name in record.getMessage() for record in caplog.records)
        assert folder.results() == before
        assert victim.read_bytes() != bytes(content)


DAMAGES = {
    "truncated": lambda contents, number: contents[number][:-100],
    "emptied": lambda contents, number: b"",
    "foreign": lambda contents, number: b"not ours at all" * 10,
    "another entry": lambda contents, number: contents[number - 1],
}


def test_a_kept_network_that_is_not_whole_is_trained_again(folder, sweep, caplog, monkeypatch):
    monkeypatch.setattr("effbench.run.making.WORTH_KEEPING_SECONDS", 0)
    assert sweep("+prune=0.9")[0] == 0
    before = folder.results()
    for damage, damaged in DAMAGES.items():
        models = sorted((folder.path / ".effbench" / "entries" / "models").iterdir())
        contents = [path.read_bytes() for path in models]
        for number, path in enumerate(models):
            path.write_bytes(damaged(contents, number))
        shutil.rmtree(folder.path / ".effbench" / "entries" / "runs")
        caplog.clear()
        status, _, _ = sweep("+prune=0.9")
        assert status == 0, damage
        assert any("damaged" in record.getMessage() for record in caplog.records)
        assert folder.results() == before
        metrics = {run.data.tags["effbench.run_key"]: run.data.metrics["accuracy"] for run in folder.children()}
        assert len(metrics) == 2


def test_the_parent_gets_its_params_even_when_it_was_killed_right_after_its_creation(folder, sweep):
    from effbench.config.read import read_sweep
    from effbench.tracking.write import MlflowTracker

    quick = (
        "train.epochs=1 finetune.epochs=1 train.fraction=0.1 measure.seconds=0.02 measure.disturbed=keep sweep.jobs=1"
    )
    planned = read_sweep(["+prune=0.9", *quick.split()]).plan
    MlflowTracker(folder.uri, "effbench").open_sweep(planned.sweep_id, name="x", params={}, tags={})
    assert sweep("+prune=0.9")[0] == 0
    (parent,) = folder.parents()
    assert parent.data.params["train.epochs"] == "1"


def test_a_resumed_sweep_with_nothing_to_do_starts_no_workers(shared, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(shared.path / ".effbench", copy / ".effbench")
    from effbench.config.read import read_sweep
    from effbench.run.executors import choose_executor, run_here
    from effbench.run.store import Store

    planned = read_sweep(shlex.split(shared.asked))
    store = Store(copy / ".effbench")
    assert choose_executor(planned.plan.points, store, planned.device, jobs=8) is run_here
