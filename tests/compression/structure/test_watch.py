import pytest
import torch
from torch import nn

from effbench.compression.structure.watch import hooked, order_of_calls, output_of, run_once


class Backwards(nn.Module):
    """Runs its layers in another order than it holds them, and the first one twice."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.unused = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)
        self.dropout = nn.Dropout(0.5)

    def forward(self, images):
        return self.a(self.dropout(self.b(self.a(images))))


def network():
    torch.manual_seed(0)
    return Backwards()


IMAGES = torch.ones(2, 3)


def n_hooks(model):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_every_call_is_told_of_before_and_after():
    model, told = network(), []
    names = {model.a: "a", model.b: "b"}
    with hooked(
        [model.a, model.b, model.a],  # named twice, told of once
        before=lambda module, inputs: told.append((names[module], inputs[0].shape)),
        after=lambda module, inputs, output: told.append((names[module], output.requires_grad)),
    ):
        run_once(model, IMAGES)
    shape = IMAGES.shape
    assert told == [("a", shape), ("a", False), ("b", shape), ("b", False), ("a", shape), ("a", False)]
    assert n_hooks(model) == 0


def test_an_error_leaves_no_hook_and_no_mode():
    model = network()
    with pytest.raises(RuntimeError), hooked(model.modules(), before=print, after=print):
        run_once(model, torch.ones(2, 4))
    assert n_hooks(model) == 0
    assert all(module.training for module in model.modules())


def test_a_network_runs_in_evaluation_mode_and_stays_in_its_own():
    model = network()
    outputs = [run_once(model, IMAGES) for _ in range(2)]
    assert torch.equal(*outputs), "no dropout"
    assert not outputs[0].requires_grad
    assert all(module.training for module in model.modules())


def test_layers_are_named_in_the_order_in_which_they_first_run():
    assert order_of_calls(network(), ["unused", "b", "a"], IMAGES) == ["a", "b"]


def test_an_output_is_that_of_the_first_call_and_no_later_module_changes_it():
    model = network()
    with torch.no_grad():
        assert torch.equal(output_of(model, "a", IMAGES), model.a(IMAGES))
    layer = nn.Linear(3, 3)
    with torch.no_grad():
        layer.weight.copy_(-torch.eye(3))
        layer.bias.zero_()
    assert (output_of(nn.Sequential(layer, nn.ReLU(inplace=True)), "0", IMAGES) == -1).all()
