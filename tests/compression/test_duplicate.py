"""Networks that hold themselves: in hooks, in functions put in the place of methods, in what a forward pass left."""

import functools
import threading

import pytest
import torch
from torch import nn

from effbench.codec import decode, encode
from effbench.compression.constraints.copies import copy_network
from effbench.compression.constraints.stack import bake
from effbench.compression.duplicate import duplicate, holds_graph
from effbench.measure.compute import count_cost
from effbench.stages.precision import Precision
from effbench.stages.prune import Prune


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.f = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 4)

    def forward(self, images):
        return self.f(torch.relu(self.b(torch.relu(self.a(images)))).mean((2, 3)))


def plain():
    return Plain()


def forward_replaced(model):
    forward = model.b.forward
    model.b.forward = lambda images: 2 * forward(images)
    return model


def forward_wrapped(model):
    forward = model.forward

    @functools.wraps(forward)
    def wrapped(images):
        return 3 * forward(images)

    model.forward = wrapped
    return model


def forward_partial(model):
    model.b.forward = functools.partial(lambda layer, images: 2 * type(layer).forward(layer, images), model.b)
    return model


def hook_with_another_layer(model):
    model.a.register_forward_hook(lambda _module, _inputs, output: output + model.b.bias.view(1, -1, 1, 1))
    return model


def hook_in_a_hook(model):
    def shift(output):
        return output + model.b.bias.view(1, -1, 1, 1)

    model.a.register_forward_hook(lambda _module, _inputs, output: shift(output))
    return model


def hook_that_is_a_method(model):
    model.seen = []
    model.keep = lambda _module, _inputs, output: model.seen.append(output)
    model.a.register_forward_hook(model.keep)
    return model


def traced_by_fx(model):
    return torch.fx.symbolic_trace(model)


HOLDING = [forward_replaced, forward_wrapped, forward_partial, hook_with_another_layer, hook_in_a_hook,
           hook_that_is_a_method, traced_by_fx]  # fmt: skip


def images(n=3):
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def seeded(change, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return change(plain()).eval()


@pytest.mark.parametrize("change", HOLDING)
def test_a_copy_computes_with_its_own_weights_and_the_original_with_its(change):
    model, other = seeded(change, 0), seeded(change, 1)
    before, expected = model(images()), other(images())
    copied = duplicate(model)
    assert torch.equal(copied(images()), before)
    copied.load_state_dict(other.state_dict())
    assert torch.equal(copied(images()), expected)
    assert torch.equal(model(images()), before)


@pytest.mark.parametrize("change", HOLDING)
def test_what_a_stage_does_is_what_the_copy_computes_and_the_file_brings_back(change, toy_data, make_context):
    pruned = Prune(ratio=0.5).apply(seeded(change, 0), make_context(toy_data)).eval()
    fresh = seeded(change, 1)
    restored = decode(encode(pruned), fresh).eval()
    fresh.load_state_dict(bake(pruned).state_dict())
    with torch.no_grad():
        assert torch.equal(pruned(images()), fresh(images()))
        assert torch.equal(restored(images()), fresh(images()))


def left_in_a_dictionary(model):
    model.a.register_forward_hook(lambda module, _inputs, output: vars(module).update(seen={"last": [output]}))
    return model


def left_in_a_buffer(model):
    model.b.register_buffer("mean", torch.zeros(()))
    model.a.register_forward_hook(lambda _module, _inputs, output: setattr(model.b, "mean", output.mean()))
    return model


@pytest.mark.parametrize("change", [left_in_a_dictionary, left_in_a_buffer])
def test_what_a_forward_pass_left_is_no_obstacle(change, toy_data, make_context):
    model = seeded(change, 0)
    model(images())
    assert holds_graph(model)
    for copied in (duplicate(model), copy_network(model)):
        assert not holds_graph(copied)
        assert torch.equal(copied(images()), model(images()))
    assert count_cost(model, (1, 8, 8)).params == sum(parameter.numel() for parameter in model.parameters())
    Prune(ratio=0.5).apply(model, make_context(toy_data))
    encode(model)


def test_what_a_function_holds_beside_the_network_is_shared():
    seen, model = [], plain()
    model.a.register_forward_hook(lambda _module, _inputs, output: seen.append(output.shape))
    duplicate(model)(images())
    assert seen == [(3, 8, 6, 6)]


def test_a_hook_on_the_whole_of_a_traced_network_comes_along(toy_data, make_context):
    cast = Precision(dtype="bfloat16").apply(seeded(traced_by_fx, 0), make_context(toy_data))
    assert torch.equal(copy_network(cast)(images()), cast(images()))


@pytest.mark.parametrize("attempt", [duplicate, copy_network, encode, lambda model: count_cost(model, (1, 8, 8))])
def test_what_can_not_be_copied_is_refused_in_a_line(attempt):
    model = plain()
    model.a.lock = threading.Lock()
    with pytest.raises(ValueError, match=r"^Plain can't be copied \(TypeError: cannot pickle '_thread.lock' object\)$"):
        attempt(model)
