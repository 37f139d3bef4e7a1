"""What the latency pass makes of engines: quality once for each file, what they refuse, what they die of."""

import dataclasses
import os
import signal

import pytest
import torch

from effbench.codec import encode
from effbench.measure.engine import Prepared
from effbench.plan.blueprint import Blueprint
from effbench.run.results import keep_result
from effbench.sweep import kept_passes, passes
from effbench.sweep.timing import Listener, is_measured, kept_latencies, measure_points


@pytest.fixture
def kept(store, result_of, tiny_sweep):
    """Return what plans a sweep and keeps a network of each of its points."""

    def make(*arguments):
        sweep = tiny_sweep(*arguments, "measure.seconds=0.01")
        for point in sweep.plan.points:
            blob = encode(point.chain.fresh_network())
            keep_result(point.key, dataclasses.replace(result_of(point), blob=blob), store)
        return sweep

    return make


class Moody:
    """An engine that refuses the networks with so many channels at their end, or dies of them."""

    name = "moody"

    def __init__(self, refuses=(), dies_of=()):
        self.refuses, self.dies_of = refuses, dies_of

    def prepare(self, model, example_input, /, *, threads):
        (*_, layer) = (module for module in model.modules() if hasattr(module, "out_channels"))
        if layer.out_channels in self.dies_of:
            os.kill(os.getpid(), signal.SIGKILL)
        if layer.out_channels in self.refuses:
            raise RuntimeError("no kernel for that\nand more")
        return lambda: None

    def synchronise(self):
        """Nothing is behind."""


def with_engines(sweep, kind="Moody", **engines):
    blueprints = {name: Blueprint(f"{__name__}.{kind}", options) for name, options in engines.items()}
    return dataclasses.replace(sweep, engines=blueprints)


class Answering:
    """An engine that runs a "file", whose outputs are the network's; it counts the inputs that it is asked about."""

    name = "answering"
    n_inputs = 0

    def __init__(self, notes=()):
        self.notes = notes

    def prepare(self, model, example_input, /, *, threads):
        def outputs(images):
            Answering.n_inputs += len(images)
            with torch.no_grad():
                return model.eval()(images)

        return Prepared(run=lambda: None, outputs=outputs, n_bytes=50, download_bytes=40, notes=self.notes)

    def synchronise(self):
        """Nothing is behind."""


@pytest.fixture
def asked_of(monkeypatch):
    """Return what says how many inputs the engine was asked about since it was last asked."""
    monkeypatch.setattr(Answering, "n_inputs", 0)

    def since():
        n_inputs, Answering.n_inputs = Answering.n_inputs, 0
        return n_inputs

    return since


def test_quality_on_an_engine_is_measured_once_for_each_file_and_kept(calm, here, kept, store, asked_of):
    sweep = with_engines(kept("prune=0.5", "measure.threads=1,2"), "Answering", answering={})
    points = sweep.plan.points
    found = measure_points(points, sweep, store)
    n_tests = points[0].chain.loaded_data().n_examples("test")
    assert asked_of() == len(points) * n_tests  # for one thread; the file of two is the same
    for point in points:
        metrics = found[point.key]
        assert metrics["agreement/answering"] == 1.0 and metrics["max_difference/answering"] < 1e-5
        assert 0 <= metrics["accuracy/answering"] <= 1
        assert (metrics["size_bytes/answering"], metrics["download_bytes/answering"]) == (50, 40)
        assert {"latency_ms/answering", "latency_ms/answering.t2"} <= metrics.keys()
        assert not {"accuracy/answering.t2", "size_bytes/answering.t2"} & metrics.keys()
    assert measure_points(points, sweep, store) == found == kept_latencies(points, sweep, store)
    longer = dataclasses.replace(sweep, measure=dataclasses.replace(sweep.measure, seconds=0.02))
    assert not is_measured(points, longer, store)
    again = measure_points(points, longer, store)  # timed anew, on the files that are known
    assert asked_of() == 0
    assert again[points[0].key]["accuracy/answering"] == found[points[0].key]["accuracy/answering"]


def test_each_batch_size_has_a_file_of_its_own(calm, here, kept, store, asked_of):
    sweep = with_engines(kept("measure.batch=1,8"), "Answering", answering={})
    (metrics,) = measure_points(sweep.plan.points, sweep, store).values()
    assert metrics["accuracy/answering.b8"] == metrics["accuracy/answering"]
    n_tests = sweep.plan.points[0].chain.loaded_data().n_examples("test")
    assert asked_of() == n_tests + -(-n_tests // 8) * 8  # the last batch is filled up


def test_what_is_not_as_it_was_asked_for_is_told_again_when_it_comes_from_the_store(calm, here, kept, store, asked_of):
    sweep = with_engines(kept("prune=0.5", "measure.threads=1,2"), "Answering", answering={"notes": ["fc stays float"]})
    told, again = [], []
    found = measure_points(sweep.plan.points, sweep, store, Listener(note=told.append))
    names = ", ".join(map(str, sweep.plan.points))
    assert told == [f"answering: {names}: fc stays float"]  # once for both numbers of threads
    asked_of()
    assert measure_points(sweep.plan.points, sweep, store, Listener(note=again.append)) == found
    assert again == told and asked_of() == 0


def test_where_what_is_known_of_a_file_is_gone_it_is_measured_again(calm, here, kept, store, asked_of):
    sweep = with_engines(kept("prune=0.5"), "Answering", answering={})
    found = measure_points(sweep.plan.points, sweep, store)
    n_inputs = asked_of()
    (one,) = passes.passes_of(sweep)
    store.put_json(kept_passes._file_entry(sweep.plan.points[0].key, one), {})
    again = measure_points(sweep.plan.points, sweep, store)
    assert asked_of() == n_inputs // 2
    assert {key: metrics.keys() for key, metrics in again.items()} == {key: m.keys() for key, m in found.items()}


def test_passes_are_made_in_a_process_of_their_own(calm, kept, store):
    sweep, told = kept("prune=0.5"), []
    found = measure_points(sweep.plan.points, sweep, store, Listener(progress=lambda *step: told.append(step)))
    assert all(metrics["latency_ms/eager"] > 0 for metrics in found.values())
    assert told[0] == (0, 1) and told[-1] == (1, 1)
    assert len(told) == 22 and told == sorted(told)  # round by round
    assert measure_points(sweep.plan.points, sweep, store) == found


def test_a_run_that_an_engine_refuses_is_named_and_the_others_are_measured(here, kept, store):
    sweep = with_engines(kept("model.channels=[4,4],[4,6]", "prune=0.5"), picky={"refuses": (6,)})
    lines = []
    found = measure_points(sweep.plan.points, sweep, store, Listener(complain=lines.append))
    refused = [point for point in sweep.plan.points if "latency_ms/picky" not in found[point.key]]
    assert lines == [
        f"latency_ms/picky: {point} could not be measured: RuntimeError: no kernel for that" for point in refused
    ]
    assert len(refused) == 2 and len(sweep.plan.points) == 4
    again = []  # told again; another version of the engine would be asked anew
    measure_points(sweep.plan.points, sweep, store, Listener(complain=again.append))
    assert again == lines


def test_a_pass_whose_process_dies_costs_its_own_metrics_only(kept, store):
    sweep = with_engines(kept("prune=0.5"), deadly={"dies_of": (4,)}, sound={})
    lines = []
    found = measure_points(sweep.plan.points, sweep, store, Listener(complain=lines.append))
    (line,) = lines
    assert line.startswith(
        "latency_ms/deadly: not measured: its process died (signal SIGKILL); out of memory? a smaller measure.memory="
    )
    assert all("latency_ms/sound" in metrics and "latency_ms/deadly" not in metrics for metrics in found.values())
