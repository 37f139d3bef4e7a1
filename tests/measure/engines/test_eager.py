"""PyTorch as it is: which devices it takes, and that nothing is left to do when a call is timed."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.masks import Mask
from effbench.measure.engines.eager import EagerEngine


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1", "mps"])
def test_takes_the_devices_there_may_be(device):
    assert EagerEngine(device=device).device == device


@pytest.mark.parametrize("device", ["tpu", "", "cpu:0", "cuda:", "cuda:x", "auto", "CPU"])
def test_refuses_what_is_no_device(device):
    with pytest.raises(ValueError, match=rf"^device={device}: must be cpu, cuda, cuda:N or mps$"):
        EagerEngine(device=device)


class Counted(nn.Module):
    """A constraint that says how often it acts."""

    def __init__(self):
        super().__init__()
        self.n_calls = 0

    def forward(self, weight):
        self.n_calls += 1
        return weight


def test_constraints_are_baked_once_and_not_in_every_call():
    layer, constraint = nn.Linear(3, 2), Counted()
    parametrize.register_parametrization(layer, "weight", constraint)
    run = EagerEngine().prepare(layer, torch.ones(1, 3), threads=1)
    before = constraint.n_calls
    outputs = [run() for _ in range(3)]
    assert constraint.n_calls == before
    torch.testing.assert_close(outputs[0], layer(torch.ones(1, 3)).detach())


def test_outputs_are_of_inference_mode():
    layer = nn.Linear(3, 2)
    parametrize.register_parametrization(layer, "weight", Mask(torch.zeros(2, 3)))
    output = EagerEngine().prepare(layer, torch.ones(1, 3), threads=1)()
    assert output.is_inference()
    torch.testing.assert_close(output.clone(), layer.bias.detach()[None])


def test_outputs_are_those_of_the_network_for_what_is_given():
    layer, values = nn.Linear(3, 2), torch.randn(4, 3)
    prepared = EagerEngine().prepare(layer, torch.ones(1, 3), threads=1)
    torch.testing.assert_close(prepared.outputs(values).clone(), layer(values).detach())
    assert prepared.n_bytes is None and not prepared.notes


def test_the_cpu_is_never_behind():
    EagerEngine().synchronise()


@pytest.mark.parametrize(("device", "asked"), [("cuda", ["cuda"]), ("cuda:1", ["cuda:1"]), ("cpu", [])])
def test_a_gpu_is_waited_for(monkeypatch, device, asked):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    EagerEngine(device=device).synchronise()
    assert waited == asked
