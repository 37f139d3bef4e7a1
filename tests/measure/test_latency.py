"""Milliseconds, measured in rounds that visit every model; statistics by hand."""

import gc

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from effbench.measure.latency import measure_latency, sample_latency, summarise_latency
from effbench.measure.rounds import WARM_UP_CALLS


class Machine:
    """An engine with a clock of its own: a call of a model takes the milliseconds that the model says."""

    name = "machine"

    def __init__(self, slowdown=lambda n_calls: 1.0):
        self.now = 0.0
        self.calls = []
        self.prepared = []
        self.pending = 0.0
        self.slowdown = slowdown

    def prepare(self, model, example_input, /, *, threads):
        self.prepared.append((tuple(example_input.shape), example_input.dtype, threads, torch.get_num_threads()))

        def run():
            self.pending += model.milliseconds * self.slowdown(len(self.calls))
            self.calls.append(model.milliseconds)

        return run

    def synchronise(self):
        """What was started takes its time here: unless it is called on both sides, the clock sees nothing of it."""
        self.now += self.pending / 1e3
        self.pending = 0.0

    def clock(self):
        return self.now


class Takes(nn.Module):
    def __init__(self, milliseconds):
        super().__init__()
        self.milliseconds = milliseconds


def measure(machine, models, **options):
    options = {"seconds": 0.1, "n_rounds": 5, **options}
    return measure_latency(models, (3, 8, 8), engine=machine, clock=machine.clock, **options)


def test_a_row_per_model_in_the_order_given():
    frame = measure(Machine(), {"slow": Takes(4.0), "fast": Takes(1.0), "middle": Takes(2.0)}, batch=2)
    assert frame.columns.tolist() == [
        "model", "engine", "batch", "threads",
        "n_samples", "latency_ms", "latency_ms_p90", "latency_ms_p99", "latency_ms_iqr", "latency_ms_spread",
        "speedup", "speedup_iqr", "speedup_low", "speedup_high",
    ]  # fmt: skip
    assert frame["model"].tolist() == ["slow", "fast", "middle"]
    assert frame["latency_ms"].tolist() == pytest.approx([4.0, 1.0, 2.0])
    assert frame["speedup"].tolist() == pytest.approx([1.0, 4.0, 2.0])
    assert frame["latency_ms_iqr"].tolist() == pytest.approx([0.0] * 3, abs=1e-9)
    assert set(frame["engine"]) == {"machine"}
    assert set(frame["batch"]) == {2}
    assert set(frame["threads"]) == {1}


def test_every_model_gets_the_time_and_the_rounds():
    machine = Machine()
    samples = sample_latency(
        {"fast": Takes(1.0), "slow": Takes(50.0)}, (4,), engine=machine, seconds=0.1, n_rounds=5, clock=machine.clock
    )
    per_model = samples.groupby("model")["latency_ms"]
    # 20 ms a visit: 20 calls of 1 ms (one more where the sum of floats falls short), one call of 50 ms.
    assert 100 <= per_model.count()["fast"] <= 105
    assert per_model.count()["slow"] == 5
    assert (per_model.sum() >= 100 - 1e-6).all()
    assert samples.groupby("model")["round"].unique().map(list).to_dict() == {"fast": [*range(5)], "slow": [*range(5)]}


def visits(machine):
    """Collapse the calls into visits: which model, how many calls in a row."""
    found = []
    for milliseconds in machine.calls:
        if found and found[-1][0] == milliseconds:
            found[-1][1] += 1
        else:
            found.append([milliseconds, 1])
    return found


def test_models_take_turns_and_the_order_changes():
    machine = Machine()
    models = [Takes(float(10 + i)) for i in range(4)]
    measure(machine, models, seconds=0.05, n_rounds=8)
    flat = [milliseconds for milliseconds, _ in visits(machine)][4:]
    # Warm-up first; then a visit is one unmeasured and one measured call.
    assert [count for _, count in visits(machine)][:4] == [WARM_UP_CALLS] * 4
    calls = machine.calls[4 * WARM_UP_CALLS :]
    rounds = [calls[i : i + 8 : 2] for i in range(0, len(calls), 8)]
    assert len(rounds) == 8
    assert all(sorted(order) == [10.0, 11.0, 12.0, 13.0] for order in rounds)
    assert len({tuple(order) for order in rounds}) > 2
    assert set(flat) == {10.0, 11.0, 12.0, 13.0}


def test_the_same_seed_gives_the_same_order():
    orders = []
    for seed in (0, 0, 1):
        machine = Machine()
        measure(machine, [Takes(float(i)) for i in (10, 11, 12)], seed=seed)
        orders.append(machine.calls)
    assert orders[0] == orders[1] != orders[2]


def test_warm_up_is_not_measured():
    # The first calls of each model are a hundred times slower: no sample shows it.
    machine = Machine(slowdown=lambda n_calls: 100.0 if n_calls < WARM_UP_CALLS else 1.0)
    samples = sample_latency(Takes(1.0), (4,), engine=machine, seconds=0.1, n_rounds=5, clock=machine.clock)
    assert samples["latency_ms"].max() == pytest.approx(1.0)


def test_no_outlier_is_dropped():
    machine = Machine(slowdown=lambda n_calls: 1000.0 if n_calls == 40 else 1.0)
    samples = sample_latency(Takes(1.0), (4,), engine=machine, seconds=0.1, n_rounds=5, clock=machine.clock)
    assert samples["latency_ms"].max() == pytest.approx(1000.0)
    assert samples["latency_ms"].median() == pytest.approx(1.0)


def test_a_machine_that_slows_down_does_not_move_the_speedup():
    # Ever slower: whoever came last would look worst if rounds were not paired.
    machine = Machine(slowdown=lambda n_calls: 1.0 + n_calls / 100)
    frame = measure(machine, {"a": Takes(2.0), "b": Takes(1.0)}, seconds=1.0, n_rounds=50)
    assert frame["speedup"][1] == pytest.approx(2.0, rel=0.05)
    assert frame["latency_ms_iqr"][0] > 0


def test_statistics_by_hand():
    samples = pd.DataFrame(
        {
            "model": ["a"] * 4 + ["b"] * 4,
            "round": [0, 0, 1, 1] * 2,
            "latency_ms": [2.0, 4.0, 30.0, 30.0, 1.0, 1.0, 10.0, 20.0],
        }
    )
    frame = summarise_latency(samples, reference="a").set_index("model")
    a, b = np.array([2.0, 4.0, 30.0, 30.0]), np.array([1.0, 1.0, 10.0, 20.0])
    for name, times in (("a", a), ("b", b)):
        assert frame["latency_ms"][name] == np.median(times)
        assert frame["latency_ms_p90"][name] == pytest.approx(np.quantile(times, 0.9))
        assert frame["latency_ms_p99"][name] == pytest.approx(np.quantile(times, 0.99))
        assert frame["latency_ms_iqr"][name] == np.subtract(*np.quantile(times, [0.75, 0.25]))
    # The rounds' medians are 3 and 30 of a, 1 and 15 of b: half of their distances, as shares of 17 and 5.5.
    assert frame["latency_ms_spread"].to_dict() == pytest.approx({"a": 13.5 / 17, "b": 7 / 5.5})
    # Round 0: 3 ÷ 1, round 1: 30 ÷ 15. The ratio of medians would say 17 ÷ 5.5.
    assert frame["speedup"].to_dict() == {"a": 1.0, "b": 2.5}
    assert frame["speedup_iqr"].to_dict() == {"a": 0.0, "b": 0.5}


def test_another_reference():
    frame = measure(Machine(), {"slow": Takes(4.0), "fast": Takes(1.0)}, reference="fast")
    assert frame["speedup"].tolist() == pytest.approx([0.25, 1.0])


def test_sequences_and_single_models_get_names():
    assert measure(Machine(), [Takes(1.0), Takes(2.0)])["model"].tolist() == ["0", "1"]
    assert measure(Machine(), Takes(1.0))["model"].tolist() == ["Takes"]


def test_the_input_is_a_batch_of_the_models_own_size_and_type():
    machine = Machine()
    models = {"a": nn.Sequential(nn.Linear(2, 2), Takes(1.0)).double(), "b": Takes(1.0)}
    models["a"].milliseconds = 1.0
    sample_latency(
        models, {"a": (5, 2), "b": (1, 8, 8)}, engine=machine, batch=3, seconds=0.01, n_rounds=1, clock=machine.clock
    )
    assert [one[:2] for one in machine.prepared] == [((3, 5, 2), torch.float64), ((3, 1, 8, 8), torch.float32)]


def test_threads_and_garbage_collector_are_set_back():
    before = torch.get_num_threads()
    machine = Machine()
    measure(machine, Takes(1.0), threads=before + 1)
    assert machine.prepared[0][2:] == (before + 1, before + 1)
    assert (torch.get_num_threads(), gc.isenabled()) == (before, True)


def test_threads_are_set_back_after_a_failure():
    class Fails(nn.Module):
        def forward(self, x):
            raise RuntimeError("no")

    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="no"):
        measure_latency(Fails(), (3,), threads=before + 1)
    assert (torch.get_num_threads(), gc.isenabled()) == (before, True)


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        ({}, {}, "models must hold at least one model"),
        ([], {}, "models must hold at least one model"),
        (Takes(1.0), {"threads": 0}, "threads must be an integer of at least 1, got 0"),
        (Takes(1.0), {"threads": 1.5}, "got 1.5"),
        (Takes(1.0), {"batch": 0}, "batch must be an integer of at least 1, got 0"),
        (Takes(1.0), {"n_rounds": 0}, "n_rounds must be an integer of at least 1, got 0"),
        (Takes(1.0), {"seconds": 0.0}, "seconds must be a finite number above 0, got 0.0"),
        (Takes(1.0), {"seconds": float("inf")}, "got inf"),
        (Takes(1.0), {"engine": "warp"}, "unknown engine 'warp'; there are: .*eager"),
        ({"a": Takes(1.0)}, {"reference": "b"}, r"reference must be one of the models \(a\), got 'b'"),
    ],
)
def test_wrong_arguments(models, options, message):
    with pytest.raises(ValueError, match=message):
        measure_latency(models, (3, 8, 8), **options)


@pytest.mark.parametrize(
    ("size", "message"),
    [((), "input_size must be"), ((3, 0), "input_size must be"), ({"b": (3,)}, "input_size has no size for a")],
)
def test_wrong_sizes(size, message):
    with pytest.raises(ValueError, match=message):
        measure_latency({"a": Takes(1.0)}, size)


def test_summarising_needs_the_reference():
    samples = pd.DataFrame({"model": ["a"], "round": [0], "latency_ms": [1.0]})
    with pytest.raises(ValueError, match="reference must be one of the models measured, got 'b'"):
        summarise_latency(samples, reference="b")


@pytest.mark.extended
def test_a_much_larger_network_is_slower():
    torch.manual_seed(0)
    models = {"small": nn.Linear(256, 256), "large": nn.Sequential(*[nn.Linear(512, 512) for _ in range(50)])}
    sizes = {"small": (256,), "large": (512,)}
    frame = measure_latency(models, sizes, batch=8, seconds=0.1, reference="large").set_index("model")
    assert frame["latency_ms"]["large"] > frame["latency_ms"]["small"]
    assert frame["speedup"]["small"] > 1
