"""A pass of the measuring: its names, what it samples and inspects, and when it was disturbed."""

import dataclasses
import gzip
import io

import pandas as pd
import pytest
import torch

from effbench.codec import encode
from effbench.compression.constraints.quantizer import UniformQuantizer
from effbench.compression.constraints.stack import native_form, register
from effbench.config.read import read_sweep
from effbench.measure.engine import Prepared
from effbench.measure.subnormals import n_subnormal
from effbench.plan.blueprint import Blueprint
from effbench.run.results import keep_result
from effbench.sweep import passes
from effbench.sweep.passes import Done, Pass, as_csv, passes_of, sample_points, why_disturbed

EAGER = Blueprint("effbench.measure.engines.eager.EagerEngine", {"device": "cpu"})


def planned(*arguments):
    return read_sweep(["model.channels=[4,4]", "data.side=8", "measure.seconds=0.01", *arguments])


@pytest.mark.parametrize(
    ("batch", "threads", "name", "file_name"),
    [(1, 1, "e", "e"), (8, 1, "e.b8", "e.b8"), (1, 2, "e.t2", "e"), (8, 2, "e.b8.t2", "e.b8")],
)
def test_threads_are_in_the_name_of_the_times_and_not_in_that_of_the_file(batch, threads, name, file_name):
    one = Pass("e", EAGER, batch, threads)
    assert (one.name, one.file_name) == (name, file_name)


def test_there_is_one_for_each_engine_batch_and_number_of_threads():
    found = passes_of(planned("measure.batch=1,8", "measure.threads=1,2"))
    assert [(one.engine, one.batch, one.threads) for one in found] == [
        *(("eager", 1, 1), ("eager", 1, 2), ("eager", 8, 1), ("eager", 8, 2)),
    ]


@pytest.fixture
def kept(store, result_of):
    """Return a point whose network, of 4-bit weights, is in the store."""
    sweep = planned()
    (point,) = sweep.plan.points
    network = point.chain.fresh_network()
    register(network.features.conv2, "weight", UniformQuantizer(4))
    keep_result(point.key, dataclasses.replace(result_of(point), blob=encode(network)), store)
    return point, sweep


class Holding:
    """An engine that notes the models that it is given, and whose outputs are theirs."""

    name = "holding"
    models = []  # noqa: RUF012 - of all of them

    def prepare(self, model, example_input, /, *, threads):
        self.models.append(model)
        return Prepared(run=lambda: None, outputs=lambda images: model.eval()(images))

    def synchronise(self):
        """Nothing is behind."""


@pytest.mark.extended
@pytest.mark.parametrize("is_known", [False, True])
def test_quality_is_measured_on_what_the_engine_holds_unless_it_is_known(kept, store, is_known, monkeypatch):
    monkeypatch.setattr(Holding, "models", [])
    point, sweep = kept
    one, told = Pass("holding", Blueprint(f"{__name__}.Holding", {}), 1, 1), []
    known = frozenset([point.key] if is_known else [])
    done = sample_points([point], store.root, one, sweep.measure, known, report=told.append)
    assert set(done.samples["model"]) == {point.key} and not done.failures
    assert done.others_busy >= 0 and told[-1] == 1.0
    assert list(done.found) == ([] if is_known else [point.key])
    if not is_known:
        assert done.found[point.key].metrics["agreement/holding"] == 1.0
    (model,) = Holding.models  # under the grids of the file: an engine finds the codes
    assert native_form(model.features.conv2, "weight").bits == 4


@pytest.mark.extended
def test_the_quality_on_pytorch_is_the_runs_own(kept, store):
    point, sweep = kept
    one = Pass("eager", EAGER, 1, 1)
    done = sample_points([point], store.root, one, sweep.measure, frozenset(), report=lambda share: None)
    assert not done.found and not done.failures and len(done.samples)


def test_a_result_that_is_gone_is_an_error_in_a_line(store, result_of):
    sweep = planned()
    (point,) = sweep.plan.points
    with pytest.raises(
        OSError, match=r"^the result of reference, seed=0 is gone from .*; the same command computes it"
    ):
        passes._model(point, store)
    keep_result(point.key, result_of(point), store)
    with pytest.raises(ValueError):  # it is no file of a network
        passes._model(point, store)


def samples(*times):
    return pd.DataFrame({"model": "key", "round": range(len(times)), "latency_ms": times})


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        (Done(samples=samples(1.0, 1.1, 1.2)), ""),
        (Done(samples=samples(), others_busy=99.0), ""),  # nothing was timed
        (Done(samples=samples(1.0, 1.0, 1.0), others_busy=1.0), ""),
        (
            Done(samples=samples(1.0, 1.0, 1.0), others_busy=2.6),
            "the machine was busy: other processes took 2.6 of its 4 cores",
        ),
        (
            Done(samples=samples(1.0, 1.0, 90.0)),
            "something else disturbed the timing: of some network the slowest tenth takes several times the median",
        ),
    ],
)
def test_a_pass_is_disturbed_by_others_and_by_slow_calls(done, expected, monkeypatch):
    monkeypatch.setattr("effbench.measure.cores.n_cores", lambda: 4)
    monkeypatch.setattr(passes, "n_cores", lambda: 4)
    assert why_disturbed(done, Pass("e", EAGER, 1, 2)) == expected


def test_all_samples_are_in_the_table_and_the_same_ones_are_the_same_bytes():
    table = samples(1.0, 2.0, 1234.56789)
    content = as_csv(table)
    assert content == as_csv(table)
    back = pd.read_csv(io.BytesIO(gzip.decompress(content)))
    assert back.to_dict("list") == {"run_key": ["key"] * 3, "round": [0, 1, 2], "latency_ms": [1.0, 2.0, 1234.57]}


@pytest.mark.extended
def test_torch_is_left_with_its_threads(kept, store):
    point, sweep = kept
    before = torch.get_num_threads()
    sample_points(
        [point], store.root, Pass("eager", EAGER, 1, before + 1), sweep.measure, frozenset(), report=lambda share: None
    )
    assert torch.get_num_threads() == before


@pytest.mark.extended
def test_a_network_with_subnormal_weights_is_timed_beside_its_copy_without_them(store, result_of, monkeypatch):
    monkeypatch.setattr(Holding, "models", [])
    sweep = planned()
    (point,) = sweep.plan.points
    network = point.chain.fresh_network()
    with torch.no_grad():
        network.features.conv2.weight[0] = 1e-40
    keep_result(point.key, dataclasses.replace(result_of(point), blob=encode(network)), store)
    one = Pass("holding", Blueprint(f"{__name__}.Holding", {}), 1, 1)
    done = sample_points([point], store.root, one, sweep.measure, frozenset(), report=lambda share: None)
    n_weights = network.features.conv2.weight[0].numel()
    assert done.flushed[point.key].n_subnormal == n_weights and done.flushed[point.key].speedup > 0
    assert set(done.samples["model"]) == {point.key} and list(done.found) == [point.key]
    assert [n_subnormal(model) for model in Holding.models] == [n_weights, 0]


@pytest.mark.extended
def test_energy_is_that_of_an_inference_where_there_are_counters(kept, store, monkeypatch):
    class Counter:
        def mj_of(self, run, *, seconds):
            run()
            return 8.0 if 0 < seconds < sweep.measure.seconds / 2 else 0.0

    point, sweep = kept
    monkeypatch.setattr(passes.EnergyCounter, "find", lambda: Counter())
    done = sample_points([point], store.root, Pass("eager", EAGER, 4, 1), sweep.measure, frozenset(), report=print)
    assert done.energy_mj == {point.key: 2.0}  # of a batch of four
    monkeypatch.setattr(passes.EnergyCounter, "find", lambda: None)
    done = sample_points([point], store.root, Pass("eager", EAGER, 4, 1), sweep.measure, frozenset(), report=print)
    assert done.energy_mj == {}
