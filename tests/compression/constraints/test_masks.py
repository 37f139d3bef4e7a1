import copy
import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.described import describe, impose
from effbench.compression.constraints.masks import Mask, RampedMask, largest, pool
from effbench.compression.constraints.stack import advance, bake, constraints_on, hold
from effbench.stages.prune import Prune
from effbench.stages.train import Train


def ramped(shape, *, n_kept, regrow=False, ramp=0.5, every=2, dims=()):
    mask = torch.zeros(shape, dtype=torch.bool)
    return RampedMask(
        mask, n_start=pool(mask.float(), dims).numel(), n_kept=n_kept, dims=dims, ramp=ramp, every=every, regrow=regrow
    )


def some_weight(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(
    n_steps=st.integers(1, 60),
    ramp=st.floats(0.05, 1),
    every=st.integers(1, 20),
    n_kept=st.integers(0, 40),
    regrow=st.booleans(),
)
def test_it_closes_along_the_cubic_and_ends_exactly(n_steps, ramp, every, n_kept, regrow):
    mask, weight = ramped((5, 8), n_kept=n_kept, ramp=ramp, every=every, regrow=regrow), some_weight(5, 8)
    last = 40
    for step in range(n_steps + 1):
        was_settled = mask.settled
        mask.advance(weight, step, n_steps)
        n_open = int(mask.mask.sum())
        progress = min(1, step / (ramp * n_steps))
        if (step % every == 0 or step == n_steps) and not was_settled:
            assert n_open == n_kept + round((40 - n_kept) * (1 - progress) ** 3)
        else:
            assert n_open == last
        assert n_open <= last
        last = n_open
    assert n_open == n_kept
    assert mask.settled
    mask.advance(-weight.flip(0), 0, n_steps)  # later training moves it no more
    assert torch.equal(mask.mask, largest(weight.abs(), n_kept))


@pytest.mark.parametrize("regrow", [True, False])
def test_a_weight_that_grows_large_comes_back_only_where_it_may(regrow):
    mask, weight = ramped((1, 4), n_kept=1, regrow=regrow, ramp=1.0, every=1), torch.tensor([[4.0, 3.0, 2.0, 1.0]])
    for step in (0, 1, 2):
        mask.advance(weight, step, 4)
    assert mask.mask.tolist() == [[True, False, False, False]]
    mask.advance(torch.tensor([[1.0, 3.0, 2.0, 9.0]]), 3, 4)
    assert mask.mask.tolist() == [[not regrow, False, False, regrow]]


def test_groups_close_whole():
    weight = some_weight(4, 3, 2, 2)
    mask = ramped((4, 3, 2, 2), n_kept=5, dims=(2, 3), every=1)
    for step in range(11):
        mask.advance(weight, step, 10)
        open_ones = mask.mask.flatten(2)
        assert (open_ones.all(2) | ~open_ones.any(2)).all()
    assert torch.equal(mask.mask[:, :, 0, 0], largest(weight.abs().mean((2, 3)), 5))


def test_the_gradient_reaches_masked_weights_only_where_they_may_come_back():
    for regrow in (True, False):
        layer = nn.Linear(4, 3)
        mask = ramped((3, 4), n_kept=0, regrow=regrow)
        mask.mask[:, :2] = True
        parametrize.register_parametrization(layer, "weight", mask)
        assert (layer.weight[:, 2:] == 0).all() and (layer.weight[:, :2] != 0).all()
        layer.weight.sum().backward()
        expected = torch.ones(3, 4) if regrow else mask.mask.float()
        assert torch.equal(layer.parametrizations["weight"].original.grad, expected)


def test_a_moving_mask_takes_the_place_of_a_fixed_one_whose_zeros_stay():
    layer = nn.Linear(4, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[9.0, 1.0, 2.0, 3.0]]))
    hold(layer, Mask(torch.tensor([[False, True, True, True]])))
    hold(layer, ramped((1, 4), n_kept=2))
    assert [type(c) for c in constraints_on(layer, "weight")] == [RampedMask]
    for step in range(5):
        advance(layer, step, 4)
    assert layer.weight.tolist() == [[0.0, 0.0, 2.0, 3.0]]
    # One that still moves is left alone by a fixed one, which goes on top; one that has settled is tightened.
    hold(layer, Mask(torch.tensor([[True, True, True, False]])))
    assert [type(c) for c in constraints_on(layer, "weight")] == [RampedMask]
    assert layer.weight.tolist() == [[0.0, 0.0, 2.0, 0.0]]
    moving = nn.Linear(4, 1)
    hold(moving, ramped((1, 4), n_kept=4))
    hold(moving, Mask(torch.tensor([[True, True, False, True]])))
    advance(moving, 0, 4)
    assert [type(c) for c in constraints_on(moving, "weight")] == [RampedMask, Mask]
    assert (moving.weight == 0).tolist() == [[False, False, True, False]]


@pytest.mark.parametrize("regrow", [True, False])
def test_half_of_a_training_can_be_put_aside_and_a_settled_mask_kept(toy_data, toy_network, make_context, regrow):
    context = make_context(toy_data)
    unsettled = Prune(ratio=0.8, schedule="cubic", regrow=regrow, every=2).apply(toy_network(), context)
    for model in (unsettled, Train(epochs=2, lr=1e-2).apply(unsettled, context)):
        fresh = toy_network(seed=1)
        impose(fresh, json.loads(json.dumps(describe(model))))
        fresh.load_state_dict(copy.deepcopy(model.state_dict()), strict=True)
        assert describe(fresh) == describe(model)
        one, other = (bake(Train(epochs=1, lr=1e-2).apply(network, context)) for network in (model, fresh))
        assert all(torch.equal(t, other.state_dict()[name]) for name, t in one.state_dict().items())


@given(
    st.lists(st.sampled_from([-math.inf, 0.0, 0.5, 1.0, 2.0, math.inf]), min_size=1, max_size=40), st.integers(0, 45)
)
def test_the_largest_are_marked_and_of_equal_ones_the_first(scores, n_kept):
    order = sorted(range(len(scores)), key=lambda place: (-scores[place], place))
    marked = largest(torch.tensor(scores), n_kept).nonzero().flatten().tolist()
    assert marked == sorted(order[:n_kept])
