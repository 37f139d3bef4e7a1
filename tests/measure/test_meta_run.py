"""One forward pass on the meta device: what is seen of it, and what is refused."""

import pytest
import torch
from torch import nn

from effbench.compression.constraints.quantizer import UniformQuantizer
from effbench.compression.constraints.stack import register
from effbench.measure.meta_run import Watch, countable, double_of, run_once, tensors_in


class Notes(Watch):
    """Notes which operation runs in which layer."""

    def begin(self, example):
        super().begin(example)
        self.seen = []

    def note(self, operation, operands, args, kwargs, outcome):
        self.seen.append((self.layer, operation._overloadpacket.__name__, len(operands)))


def seen_in(model, *size):
    double = double_of(model)
    notes = Notes(double)
    return run_once(double, notes, size), notes.seen


def test_every_operation_is_noted_with_the_layer_it_runs_in():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.ReLU(), nn.Flatten()))
    outcome, seen = seen_in(model, 1, 5, 5)
    assert seen == [("0", "convolution", 3), ("1.0", "relu", 1), ("1.1", "view", 1)]
    assert outcome.is_meta and outcome.shape == (1, 18)


def test_the_second_try_begins_anew():
    class MakesTensors(nn.Module):
        def forward(self, x):
            return torch.relu(x) + torch.zeros(x.shape).storage_offset() * torch.lerp(x, torch.zeros(x.shape), 0.5)

    _, seen = seen_in(MakesTensors(), 3)
    assert [name for _, name, _ in seen].count("relu") == 1


def test_nothing_is_noted_by_default_and_the_outcome_may_be_nested():
    class Several(nn.Module):
        def forward(self, x):
            return {"first": x, "others": [x + 1, (x + 2, "text")]}

    double = double_of(Several())
    assert len(tensors_in(run_once(double, Watch(double), (3,)))) == 3


def test_a_double_has_plain_tensors_in_the_place_of_constrained_ones():
    model = nn.Linear(3, 2).half()
    register(model, "weight", UniformQuantizer(4))
    double = double_of(model)
    assert type(double) is nn.Linear and double.weight.is_meta and double.weight.dtype == torch.float16
    assert not double.training and model.training


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_what_has_no_double_or_needs_values_is_refused():
    with pytest.raises(ValueError, match="it is scripted"):
        countable(torch.jit.script(nn.Linear(3, 2)))
    double = double_of(nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"Linear can't be counted on one input of size \(4,\)"):
        run_once(double, Watch(double), (4,))
