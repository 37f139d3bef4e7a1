"""One run, end to end: what is measured is the network that was read back from its file."""

import dataclasses
import time

import numpy as np
import pytest
import torch

from effbench.analysis.curves.counts import quality_from_sums
from effbench.analysis.curves.details import calibration_error, worst_group
from effbench.codec import decode, decode_on_grids
from effbench.compression.layers import weight_layers
from effbench.measure.compute import count_cost
from effbench.measure.energy import modelled_energy_uj
from effbench.measure.memory import peak_memory
from effbench.measure.size import float32_bytes
from effbench.run.one import run_point
from effbench.run.results import keep_result, load_result
from effbench.run.store import Store
from effbench.run.times import times_of
from effbench.training.evaluation import evaluate

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pruned(tiny_points, tmp_path_factory):
    """A run at half of the weights: its point, its result, the store."""
    store = Store(tmp_path_factory.mktemp("store"))
    point = tiny_points("prune=0.5", "coder=ans")[1]
    return point, run_point(point, store, device=CPU), store


def test_what_is_measured_is_the_network_in_the_file(pruned):
    point, result, _ = pruned
    chain, metrics = point.chain, result.metrics
    network = decode(result.blob, chain.fresh_network())
    data, task = chain.loaded_data(), chain.loaded_task()
    val, test = (evaluate(network, data, split, task=task, side=8, with_examples=True) for split in ("val", "test"))
    assert metrics["accuracy"] == test.quality
    assert metrics["accuracy_val"] == val.quality
    assert metrics["accuracy_top5"] == test.qualities["accuracy_top5"]
    assert metrics["loss"] == test.loss
    assert metrics["accuracy_worst_class"] == worst_group(test.own_counts, test.examples["group"])
    right = test.own_counts[:, 0, 0] > 0
    assert metrics["calibration_error"] == calibration_error(right, test.examples["confidence"])
    cost = count_cost(network, (1, 8, 8))
    for name in ("macs", "macs_effective", "flops", "params", "params_nonzero"):
        assert metrics[name] == getattr(cost, name)
    assert metrics["macs_effective"] < metrics["macs"]
    assert metrics["peak_memory_bytes"] == peak_memory(network, (1, 8, 8)).total
    assert metrics["energy_modelled_uj"] == modelled_energy_uj(network, (1, 8, 8))
    assert metrics["size_bytes"] == len(result.blob)
    assert metrics["size_ratio"] == float32_bytes(chain.fresh_network()) / len(result.blob)
    assert metrics["coding_gain"] > 1
    assert metrics["train_seconds"] > 0


@pytest.mark.extended
def test_the_energy_model_has_the_grids_of_the_file(tmp_path, tiny_points):
    reference, point = tiny_points("bits=8", "act_bits=8")[:2]
    metrics, result = (run_point(run, Store(tmp_path), device=CPU) for run in (reference, point))
    on_grids = decode_on_grids(result.blob, point.chain.fresh_network())
    assert result.metrics["energy_modelled_uj"] == modelled_energy_uj(on_grids, point.input_size)
    assert result.metrics["energy_modelled_uj"] < 0.5 * metrics.metrics["energy_modelled_uj"]
    assert result.metrics["peak_memory_bytes"] == metrics.metrics["peak_memory_bytes"]


@pytest.mark.extended
def test_what_cannot_be_modelled_is_left_out(tmp_path, tiny_points, monkeypatch):
    def fail(*_):
        raise ValueError("x")

    monkeypatch.setattr("effbench.run.one.peak_memory", fail)
    metrics = run_point(tiny_points("prune=0.5")[0], Store(tmp_path), device=CPU).metrics
    assert "peak_memory_bytes" not in metrics and metrics["energy_modelled_uj"] > 0


def test_a_result_that_an_earlier_version_kept_lacks_what_it_did_not_measure(pruned, tmp_path):
    point, result, _ = pruned
    store = Store(tmp_path)
    new = ("peak_memory_bytes", "energy_modelled_uj")
    keep_result(
        point.key,
        dataclasses.replace(result, metrics={k: v for k, v in result.metrics.items() if k not in new}),
        store,
    )
    kept = run_point(point, store, device=CPU)
    assert kept.was_kept and not set(new) & set(kept.metrics)


def test_the_counts_give_the_qualities(pruned):
    _, result, _ = pruned
    for counts, name in ((result.counts_val, "accuracy_val"), (result.counts_test, "accuracy")):
        assert float(quality_from_sums(counts.sum(0), "ratio")) == result.metrics[name]


def test_a_kept_result_is_given_back_without_any_work(pruned, monkeypatch):
    point, result, store = pruned
    monkeypatch.setattr("effbench.run.one.make_model", None)
    kept = run_point(point, store, device=CPU)
    assert kept.was_kept
    assert kept.metrics == result.metrics
    assert kept.blob == result.blob
    assert np.array_equal(kept.counts_test, result.counts_test)


def test_it_is_evaluated_at_its_own_side_and_costs_what_it_costs_there(pruned):
    point, result, store = pruned
    larger = run_point(dataclasses.replace(point, eval_side=16), store, device=CPU)
    assert larger.blob == result.blob
    assert larger.metrics["macs"] > 3 * result.metrics["macs"]
    assert larger.metrics["accuracy"] != result.metrics["accuracy"]


def test_without_a_coder_nothing_is_gained_by_coding(pruned):
    point, result, store = pruned
    plain = run_point(dataclasses.replace(point, coder="none"), store, device=CPU)
    assert plain.metrics["coding_gain"] == 1
    assert len(plain.blob) == result.metrics["coding_gain"] * len(result.blob)


@pytest.mark.extended
def test_it_runs_on_as_many_threads_as_the_point_says(pruned, tmp_path, monkeypatch):
    point, _, _ = pruned
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    run_point(
        dataclasses.replace(point, chain=dataclasses.replace(point.chain, threads=3)), Store(tmp_path), device=CPU
    )
    assert asked[0] == 3


@pytest.mark.extended
def test_a_run_has_what_its_kept_steps_found(tmp_path, tiny_points, everything_is_kept):
    store = Store(tmp_path)
    reference, pruned = tiny_points("prune=0.5")
    first, second = (run_point(point, store, device=CPU) for point in (reference, pruned))
    assert "train" in second.cached_steps and "finetune" not in second.cached_steps
    assert second.metrics["train_memory_mb"] >= first.metrics["train_memory_mb"] > 0
    fresh = run_point(pruned, Store(tmp_path / "other"), device=CPU)
    assert fresh.metrics["train_memory_mb"] == second.metrics["train_memory_mb"]
    assert load_result(pruned.key, store).metrics == second.metrics


@pytest.mark.extended
def test_precisions_can_be_compared(tmp_path, tiny_points):
    found = {
        point.swept["train.precision"]: run_point(point, Store(tmp_path), device=CPU).metrics
        for point in tiny_points("train.precision=float32,bfloat16", "train.batch_size=128")
    }
    assert found["bfloat16"]["train_memory_mb"] < 0.8 * found["float32"]["train_memory_mb"]
    assert min(metrics["train_seconds"] for metrics in found.values()) > 0


@pytest.mark.extended
def test_the_share_acted_on_is_a_metric_where_layers_are_skipped(tmp_path, tiny_points):
    _, point = tiny_points("prune=0.5", "stage.prune.layers={classifier:skip}")
    metrics = run_point(point, Store(tmp_path), device=CPU).metrics
    network = point.chain.fresh_network()
    sizes = {name: layer.weight.numel() for name, layer in weight_layers(network)}
    assert metrics["acted_share/prune"] == pytest.approx(1 - sizes["classifier"] / sum(sizes.values()))
    assert metrics["sparsity/prune"] == pytest.approx(0.5 * metrics["acted_share/prune"], abs=0.01)


class TestTimes:
    @pytest.mark.extended
    def test_a_result_says_when_it_was_computed_also_when_it_comes_from_the_store(self, tmp_path, tiny_points):
        point, store, begun = tiny_points("prune=0.5")[0], Store(tmp_path), []
        before = time.time()
        result = run_point(point, store, device=CPU, begin=begun.append)
        assert before <= result.times.began <= result.times.ended <= time.time()
        assert begun == [result.times.began]
        kept = run_point(point, store, device=CPU, begin=begun.append)
        assert kept.was_kept and kept.times == result.times and len(begun) == 1

    def test_nothing_logs_by_itself_while_it_is_computed(self, tmp_path, tiny_points, monkeypatch):
        from mlflow.utils import autologging_utils

        seen = []

        def fail(*_, **__):
            seen.append(autologging_utils._AUTOLOGGING_GLOBALLY_DISABLED)
            raise ValueError("x")

        monkeypatch.setattr("effbench.run.one._computed", fail)
        before = time.time()
        with pytest.raises(ValueError, match="x") as caught:
            run_point(tiny_points("prune=0.5")[0], Store(tmp_path), device=CPU)
        assert seen == [True] and not autologging_utils._AUTOLOGGING_GLOBALLY_DISABLED
        assert before <= times_of(caught.value).began <= times_of(caught.value).ended <= time.time()
