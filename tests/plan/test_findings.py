"""What stages find: every run that has the step has it, whoever computed it."""

import json

import pytest
import torch

from effbench.config.command_line import read_command_line
from effbench.config.points import plan_of
from effbench.plan.findings import Findings
from effbench.run.making import make_model
from effbench.run.one import run_point
from effbench.run.results import load_result
from effbench.run.store import Store

CPU = torch.device("cpu")
TINY = ["model.channels=[4,4]", "data.side=8", "train.epochs=1", "finetune.epochs=1", "train.fraction=0.3"]


def points(*arguments):
    return plan_of(read_command_line([*TINY, *arguments])).points


@pytest.fixture
def everything_is_kept(monkeypatch):
    monkeypatch.setattr("effbench.run.one.WORTH_KEEPING_SECONDS", 0.0)


def test_peaks_are_the_largest_and_tables_the_last():
    one, other = Findings(), Findings()
    one.note_peak("a", 2.0)
    one.note_peak("a", 1.0)
    one.add_table("t", [{"x": 1}])
    assert other.is_empty
    other.note_peak("a", 3.0)
    other.note_peak("b", -1.0)
    other.add_table("t", ({"x": 2},))
    one.take_over(other)
    assert one == Findings({"a": 3.0, "b": -1.0}, {"t": [{"x": 2}]})
    assert Findings.from_plain(json.loads(json.dumps(one.to_plain()))) == one


def test_a_run_has_what_its_kept_steps_found(tmp_path, everything_is_kept):
    store = Store(tmp_path)
    reference, pruned = points("prune=0.5")
    first = run_point(reference, store, device=CPU)
    second = run_point(pruned, store, device=CPU)
    assert "train" in second.cached_steps and "finetune" not in second.cached_steps
    assert second.metrics["train_memory_mb"] >= first.metrics["train_memory_mb"] > 0
    fresh = run_point(pruned, Store(tmp_path / "other"), device=CPU)
    assert fresh.metrics["train_memory_mb"] == second.metrics["train_memory_mb"]
    whole = Findings()
    _, seconds, cached = make_model(pruned, store, device=CPU, findings=whole)
    assert len(cached) == 3 and seconds == 0
    assert whole.peaks == {"train_memory_mb": second.metrics["train_memory_mb"]}
    assert load_result(pruned.key, store).metrics == second.metrics


def test_rounds_have_what_their_steps_found(tmp_path, everything_is_kept):
    store = Store(tmp_path)
    _, point = points("prune=0.5", "recipe.rounds=2", "recipe.until.max_loss=0.9")
    found, again = Findings(), Findings()
    make_model(point, store, device=CPU, findings=found)
    _, _, cached = make_model(point, store, device=CPU, findings=again)
    assert len(cached) == len(point.chain.steps)
    assert found == again
    assert found.peaks["train_memory_mb"] > 0


def test_precisions_can_be_compared(tmp_path):
    found = {
        point.swept["train.precision"]: run_point(point, Store(tmp_path), device=CPU).metrics
        for point in points("train.precision=float32,bfloat16", "train.batch_size=128")
    }
    assert found["bfloat16"]["train_memory_mb"] < 0.8 * found["float32"]["train_memory_mb"]
    assert min(metrics["train_seconds"] for metrics in found.values()) > 0
