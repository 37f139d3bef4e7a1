"""torch.compile: which devices it takes, that it compiles once, and what it can't follow."""

import shutil

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from effbench.measure.engine import evaluates_as_runs_do
from effbench.measure.engines.compile import CompileEngine

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="torch.compile needs a C++ compiler"
)


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1", "mps"])
def test_takes_the_devices_there_may_be(device):
    assert CompileEngine(device=device).device == device


@pytest.mark.parametrize("device", ["tpu", "", "cpu:0", "auto"])
def test_refuses_what_is_no_device(device):
    with pytest.raises(ValueError, match=rf"^device={device}: must be cpu, cuda, cuda:N or mps$"):
        CompileEngine(device=device)


def test_refuses_an_option_of_another_type():
    with pytest.raises(ValueError, match="freezing"):
        CompileEngine(freezing="yes")


def test_the_quality_of_runs_is_not_its_own():
    assert not evaluates_as_runs_do(CompileEngine())


class Eager:
    """In the place of torch.compile: notes what is compiled, and runs it as it is."""

    def __init__(self, monkeypatch):
        self.functions, self.freezing = [], []
        monkeypatch.setattr(torch, "compile", self)

    def __call__(self, function, *, dynamic):
        import torch._inductor.config as inductor

        assert dynamic is False
        self.functions.append(function)

        def compiled(images):
            self.freezing.append(inductor.freezing)
            return function(images)

        return compiled


@pytest.mark.parametrize("freezing", [True, False])
def test_weights_are_frozen_while_it_compiles(monkeypatch, freezing):
    import torch._inductor.config as inductor

    before, eager = inductor.freezing, Eager(monkeypatch)
    CompileEngine(freezing=freezing).prepare(nn.Linear(3, 2), torch.ones(1, 3), threads=1)
    assert eager.freezing == [freezing]
    assert inductor.freezing == before


def test_each_network_is_compiled_as_code_of_its_own(monkeypatch):
    """What is compiled is kept by the code object, for eight of them at most."""
    eager = Eager(monkeypatch)
    for _ in range(12):
        CompileEngine().prepare(nn.Linear(3, 2), torch.ones(1, 3), threads=1)
    codes = [function.__code__ for function in eager.functions]
    assert len({id(code) for code in codes}) == 12


class Counted(nn.Module):
    """A constraint that says how often it acts."""

    def __init__(self):
        super().__init__()
        self.n_calls = 0

    def forward(self, weight):
        self.n_calls += 1
        return weight


def test_constraints_are_baked_once_and_not_in_every_call(monkeypatch):
    Eager(monkeypatch)
    layer, constraint = nn.Linear(3, 2), Counted()
    parametrize.register_parametrization(layer, "weight", constraint)
    prepared = CompileEngine().prepare(layer, torch.ones(1, 3), threads=1)
    before = constraint.n_calls
    torch.testing.assert_close(prepared(), layer(torch.ones(1, 3)).detach())
    assert constraint.n_calls == before + 1  # that of the network itself


def test_inputs_of_another_size_are_refused(monkeypatch):
    Eager(monkeypatch)
    prepared = CompileEngine().prepare(nn.Linear(3, 2), torch.ones(4, 3), threads=1)
    with pytest.raises(AssertionError, match=r"prepared for \(4, 3\), not for \(1, 3\)"):
        prepared.outputs(torch.ones(1, 3))


@pytest.mark.extended
@needs_compiler
def test_nothing_is_compiled_after_it_is_prepared():
    torch.manual_seed(0)
    network, images = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()).eval(), torch.randn(2, 2, 6, 6)
    prepared = CompileEngine().prepare(network, images, threads=1)
    expected = network(images).detach()
    with torch.compiler.set_stance("fail_on_recompile"):
        torch.testing.assert_close(prepared(), expected)
        torch.testing.assert_close(prepared.outputs(images.clone(memory_format=torch.channels_last)), expected)
        with torch.inference_mode():
            torch.testing.assert_close(prepared.outputs(images.clone()), expected)
            torch.testing.assert_close(prepared(), expected)


class Unfollowable(nn.Module):
    def forward(self, values):
        raise RuntimeError("not\nhere")


def test_a_network_that_can_not_be_followed_is_an_error_in_a_line():
    with pytest.raises(ValueError, match=r"^torch.compile can't follow it: [^\n]+$"):
        CompileEngine().prepare(Unfollowable(), torch.ones(1, 3), threads=1)


@pytest.mark.parametrize(("device", "asked"), [("cuda:1", ["cuda:1"]), ("cpu", [])])
def test_a_gpu_is_waited_for(monkeypatch, device, asked):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    CompileEngine(device=device).synchronise()
    assert waited == asked
