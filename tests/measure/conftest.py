"""An engine with a clock of its own; networks on grids of few levels."""

import gc
import sys
from collections import Counter

import pytest
import torch
from torch import nn

from effbench.compression.constraints.layer_inputs import InputGrid, set_input
from effbench.compression.constraints.quantizer import UniformQuantizer
from effbench.compression.constraints.stack import register
from effbench.compression.layers import weight_layers
from effbench.measure.int8_layers import int8_layers


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


def _put_on_grids(model, images, /, *, bits=8, input_bits=8, scheme="symmetric", granularity="channel", names=None):
    """Round the weights and inputs of a network's layers, or of those of some names, and return it, in eval mode.

    The inputs' grids go from the least to the largest that each layer takes in for `images`, or to zero.
    """
    ends = {}

    def look(name):
        def note(module, args):
            low, high = ends.get(name, (0.0, 0.0))
            ends[name] = min(low, float(args[0].min())), max(high, float(args[0].max()))

        return note

    chosen = {name: layer for name, layer in weight_layers(model) if names is None or name in names}
    hooks = [layer.register_forward_pre_hook(look(name)) for name, layer in chosen.items()]
    with torch.no_grad():
        model.eval()(images)
    for hook in hooks:
        hook.remove()
    for name, layer in chosen.items():
        register(layer, "weight", UniformQuantizer(bits, scheme=scheme, granularity=granularity))
        set_input(layer, InputGrid.between(*ends[name], bits=input_bits))
    return model


_STAND_INS = {
    "ai_edge_litert/__init__.py": "",
    "ai_edge_litert/interpreter.py": """
import io, itertools, time, torch
ticks = itertools.count()
time.perf_counter = lambda: 0.125 * next(ticks)

class Interpreter:
    def __init__(self, model_content, num_threads):
        assert num_threads > 0
        self.network = torch.export.load(io.BytesIO(model_content)).module()
    def allocate_tensors(self):
        print("what libraries print goes nowhere")
    def get_input_details(self):
        return [{"index": 0}]
    def get_output_details(self):
        return [{"index": 7}]
    def set_tensor(self, index, values):
        self.values = torch.from_numpy(values)
    def invoke(self):
        self.outputs = self.network(self.values).detach()
    def get_tensor(self, index):
        assert index == 7
        return self.outputs.numpy()
""",
    "litert_torch.py": """
import torch

class Converted:
    def __init__(self, network, args):
        self.program = torch.export.export(network, args)
    def export(self, file):
        torch.export.save(self.program, file + ".pt2")
        import os
        os.replace(file + ".pt2", file)

def convert(network, args, sample_kwargs=None):
    print("[START] Convert")
    return Converted(network, args)
""",
}


@pytest.fixture
def fake_litert(tmp_path):
    """Return what makes an interpreter with stand-ins for LiteRT's packages; its clock says 0.125 s of each inference.

    It is this one, with a folder more on its path.
    """

    def make(*, without=None):
        folder = tmp_path / f"stand-ins-without-{without}"
        for name, content in _STAND_INS.items():
            if without is None or not name.startswith(without):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(content)
        program = folder / "python"
        program.write_text(f'#!/bin/sh\nshift  # -I\nPYTHONPATH="{folder}" exec "{sys.executable}" "$@"\n')
        program.chmod(0o755)
        return str(program)

    return make


@pytest.fixture(scope="session")
def put_on_grids():
    return _put_on_grids


@pytest.fixture(scope="session")
def assert_a_step_away():
    """Return what compares outputs with those that PyTorch simulates: a few steps of the last layer apart at most.

    Sums in another order may round an input to the next level.
    """

    def compare(found, model, images):
        with torch.no_grad():
            expected = model(images)
        (*_, last) = int8_layers(model).values()
        step = last.input_grid.scale * float(last.values.abs().max())
        assert 10 * step < float(expected.abs().max()), "the steps are too large to tell anything"
        torch.testing.assert_close(torch.as_tensor(found), expected, rtol=1e-5, atol=3 * step)

    return compare
