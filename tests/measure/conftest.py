"""An engine with a clock of its own."""

import gc
from collections import Counter

import pytest
from torch import nn


@pytest.fixture(autouse=True, scope="module")
def small_heap():
    """Keep the garbage collector, which each measurement runs, from all that other tests have loaded."""
    gc.freeze()
    yield
    gc.unfreeze()


class Timed(nn.Module):
    """A network that takes so many milliseconds, and so many bytes of parameters."""

    def __init__(self, milliseconds, n_bytes=400):
        super().__init__()
        self.milliseconds = milliseconds
        self.weight = nn.Parameter(nn.Linear(n_bytes // 4, 1, bias=False).weight.detach())


class Bench:
    """Notes what is prepared, called and dropped. What `refuses` names can't be prepared, what `breaks` not be run.

    Models are named by their milliseconds; `breaks` says after how many calls.
    """

    name = "bench"

    def __init__(self, refuses=(), breaks=None):
        self.now, self.refuses, self.breaks = 0.0, refuses, breaks or {}
        self.calls, self.n_calls, self.alive, self.most_alive = [], Counter(), 0, 0

    def prepare(self, model, example_input, /, *, threads):
        if model.milliseconds in self.refuses:
            raise RuntimeError("can't be converted\n at line 3")
        return Run(self, model.milliseconds)

    def synchronise(self):
        """Nothing is behind."""

    def clock(self):
        return self.now


class Run:
    def __init__(self, bench, milliseconds):
        self.bench, self.milliseconds = bench, milliseconds
        bench.alive += 1
        bench.most_alive = max(bench.alive, bench.most_alive)

    def __call__(self):
        self.bench.calls.append(self.milliseconds)
        self.bench.n_calls[self.milliseconds] += 1
        if self.bench.n_calls[self.milliseconds] > self.bench.breaks.get(self.milliseconds, float("inf")):
            raise ValueError("broke")
        self.bench.now += self.milliseconds / 1e3

    def __del__(self):
        self.bench.alive -= 1


@pytest.fixture
def make_bench():
    return Bench


@pytest.fixture
def make_timed():
    return Timed
