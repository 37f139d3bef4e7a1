from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from effbench.measure.compute import count_cost
from effbench.models import small_cnn
from effbench.models.small import pooling_layers

PLACEMENTS = ["early", "even", "late", "1-3", [3, 4], (2, 6)]


def n_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_default_network_has_six_layers_and_the_parameters_of_a_hand_count():
    model = small_cnn()
    widths = [1, 8, 16, 16, 32, 32, 64]
    convolutions = sum(9 * n_in * n_out for n_in, n_out in pairwise(widths))
    assert len([module for module in model.modules() if isinstance(module, nn.Conv2d)]) == 6
    assert n_parameters(model) == convolutions + 2 * sum(widths[1:]) + 64 * 10 + 10


def test_macs_of_the_default_by_hand():
    # 28 × 28 for layers 1 and 2, 14 × 14 for 3 and 4, 7 × 7 for 5 and 6: "even" pools after 2 and 4.
    by_hand = 9 * (784 * (8 + 8 * 16) + 196 * (16 * 16 + 16 * 32) + 49 * (32 * 32 + 32 * 64)) + 640
    assert count_cost(small_cnn(), (1, 28, 28)).macs == by_hand


@pytest.mark.parametrize("head", ["gap", "flatten"])
def test_pooling_moves_macs_and_no_parameter(head):
    costs = [count_cost(small_cnn(pooling=pooling, head=head), (1, 28, 28)) for pooling in PLACEMENTS]
    assert len({cost.params for cost in costs}) == 1
    early, even, late = (cost.macs for cost in costs[:3])
    assert early < even < late


@pytest.mark.parametrize(
    ("pooling", "n_poolings", "layers"),
    [
        ("early", 2, (1, 2)),
        ("even", 2, (2, 4)),
        ("late", 2, (5, 6)),
        ("even", 1, (3,)),
        ("even", 6, (1, 2, 3, 4, 5, 6)),
        ("late", 0, ()),
        ("1-3", 2, (1, 3)),
        ("4", 2, (4,)),
        (4, 2, (4,)),
        ([2, 5, 6], 2, (2, 5, 6)),
    ],
)
def test_pooling_layers(pooling, n_poolings, layers):
    assert pooling_layers(pooling, n_layers=6, n_poolings=n_poolings) == layers


@given(st.integers(1, 30).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_every_placement_places_as_many_poolings_as_asked(sizes):
    n_layers, n_poolings = sizes
    for pooling in ("early", "even", "late"):
        layers = pooling_layers(pooling, n_layers=n_layers, n_poolings=n_poolings)
        assert len(set(layers)) == n_poolings
        assert all(1 <= layer <= n_layers for layer in layers)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0}, "alpha must be a finite number above 0"),
        ({"alpha": -1.0}, "got -1.0"),
        ({"alpha": float("nan")}, "got nan"),
        ({"alpha": float("inf")}, "got inf"),
        ({"kernel": 4}, "kernel must be odd"),
        ({"kernel": 0}, "kernel must be an integer of at least 1"),
        ({"head": "max"}, "head must be one of gap, flatten, got 'max'"),
        ({"pooling": "middle"}, "early, even, late or ascending layer numbers from 1 to 6"),
        ({"pooling": "3-1"}, "got '3-1'"),
        ({"pooling": "2-2"}, "got '2-2'"),
        ({"pooling": "0-3"}, "got '0-3'"),
        ({"pooling": [1, 7]}, r"got \[1, 7\]"),
        ({"pooling": [1.5]}, r"got \[1.5\]"),
        ({"pooling": []}, r"got \[\]"),
        ({"n_poolings": 7}, "n_poolings must be an integer from 0 to 6"),
        ({"n_poolings": -1}, "got -1"),
        ({"num_classes": 0}, "num_classes must be an integer of at least 1, got 0"),
        ({"in_channels": 1.5}, "in_channels must be an integer"),
        ({"channels": ()}, "channels must have at least one layer"),
        ({"channels": (8, 0)}, "channels must be an integer of at least 1, got 0"),
        ({"input_side": 3}, "input_side 3 the map there has side 1"),
        ({"n_poolings": 5, "pooling": "early"}, "pooling after layer 5 would leave nothing: at input_side 28"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        small_cnn(**options)


@pytest.mark.parametrize(
    ("alpha", "widths"), [(0.01, [1] * 6), (0.3, [2, 5, 5, 10, 10, 19]), (2, [16, 32, 32, 64, 64, 128])]
)
def test_alpha_rounds_half_up_and_keeps_one_channel(alpha, widths):
    model = small_cnn(alpha=alpha)
    assert [module.out_channels for module in model.modules() if isinstance(module, nn.Conv2d)] == widths


@pytest.mark.parametrize("head", ["gap", "flatten"])
def test_shapes_and_gradients(head):
    model = small_cnn(head=head, num_classes=7, in_channels=3, input_side=17, kernel=5, pooling="1-3")
    outcome = model(torch.randn(2, 3, 17, 17, generator=torch.Generator().manual_seed(0)))
    outcome.square().sum().backward()
    assert outcome.shape == (2, 7)
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_gap_head_takes_other_sides_than_it_was_built_for():
    assert small_cnn()(torch.zeros(1, 1, 14, 14)).shape == (1, 10)


def test_the_same_seed_gives_the_same_weights():
    def build(seed):
        torch.manual_seed(seed)
        return torch.cat([parameter.flatten() for parameter in small_cnn().parameters()])

    assert torch.equal(build(3), build(3))
    assert not torch.equal(build(3), build(4))
