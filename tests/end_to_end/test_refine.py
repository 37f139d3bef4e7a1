"""A sweep that is refined, in whole: the same parent, the same id, the same values, whatever happened between."""

import shlex
import signal
import time

import pytest

from effbench.run import executors
from effbench.sweep.__main__ import main

REFINED = (
    "+prune=0.5,0.9 sweep.refine=2 tolerance=0.1 train.epochs=2 finetune.epochs=0 train.fraction=0.5 model.alpha=0.25 "
    "measure.seconds=0.01 measure.disturbed=keep"
)


def refined(folder):
    return [run for run in folder.children("FINISHED") if run.data.tags.get("effbench.refined") == "true"]


def test_interrupted_between_two_values_it_goes_on_and_computes_nothing_twice(folder, monkeypatch, capsys):
    computed, run_point = [], executors.run_point

    def cut_off(point, *given, **options):
        if len(computed) == 4:  # the grid with its reference, and one value more
            raise KeyboardInterrupt
        computed.append(point.label)
        return run_point(point, *given, **options)

    command = shlex.split(f"{REFINED} sweep.jobs=1")
    monkeypatch.setattr(executors, "run_point", cut_off)
    assert main(command) == 130
    monkeypatch.setattr(executors, "run_point", run_point)
    before = {run.info.run_id for run in folder.children("FINISHED")}
    assert len(before) == 4 and computed[:3] == ["reference", "prune=0.5", "prune=0.9"]
    assert main(command) == 0
    assert f"refined by tolerance: prune: {computed[3].removeprefix('prune=')}, " in capsys.readouterr().out
    (parent,) = folder.parents()
    assert parent.info.status == "FINISHED" and parent.data.metrics["n_runs"] == 5
    assert before < {run.info.run_id for run in folder.children("FINISHED")}
    assert len(refined(folder)) == 2 and not folder.children("FAILED")
    latencies = [run for run in folder.children("FINISHED") if "latency_ms/eager" in run.data.metrics]
    assert len(latencies) == 5
    frame = folder.frame(sweep=parent.data.tags["effbench.sweep"])
    assert len(frame) == 5 and frame["run_key"].is_unique


@pytest.mark.waiting
def test_kill_9_between_two_values_loses_nothing_and_comes_to_the_same(folder, at, tmp_path_factory, empty_database):
    entries = folder.path / ".effbench" / "entries" / "runs"
    process = folder.start(f"{REFINED} sweep.jobs=2")
    while process.poll() is None and (not entries.exists() or len(list(entries.glob("*.json"))) < 4):
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert folder.run(f"{REFINED} sweep.jobs=2").returncode == 0
    undisturbed = at(tmp_path_factory.mktemp("undisturbed"))
    assert undisturbed.run(f"{REFINED} sweep.jobs=1").returncode == 0
    assert folder.results() == undisturbed.results() and len(refined(folder)) == 2
    assert [run.info.status for run in folder.parents()] == ["FINISHED"]
