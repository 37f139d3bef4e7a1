from itertools import pairwise

import pytest
import torch
from torch import nn

from effbench.measure.compute import count_cost
from effbench.models import small_cnn

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
    ("options", "message"),
    [
        ({"alpha": 0}, "alpha must be a finite number above 0"),
        ({"alpha": -1.0}, "got -1.0"),
        ({"alpha": float("nan")}, "got nan"),
        ({"alpha": float("inf")}, "got inf"),
        ({"kernel": 4}, "kernel must be odd"),
        ({"kernel": 0}, "kernel must be an integer of at least 1"),
        ({"head": "max"}, "head must be one of gap, flatten, linear, conv, got 'max'"),
        ({"hidden": 100}, "hidden=100: head=gap has no hidden layer; give head=linear"),
        ({"head": "linear", "hidden": "300-0"}, "hidden must be a width of at least 1, or one for each layer"),
        ({"bands": "high"}, "bands must be none, both, low"),
        ({"octave": 1.5}, "octave must be from 0 \\(none\\) to 1"),
        ({"octave": True}, "octave must be from 0"),
        ({"octave": 0.5, "conv": "separable"}, "octave=0.5 can't be combined with conv=separable"),
        ({"octave": 0.5, "kernel": "3x1"}, "octave=0.5 can't be combined with conv=standard kernel=3x1"),
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


def seeded(**options):
    torch.manual_seed(0)
    return small_cnn(**options)


@pytest.mark.parametrize(
    "options", [{"kernel": "3"}, {"octave": 0, "bands": "none"}, {"conv": "standard", "groups": 4}]
)
def test_options_at_their_defaults_leave_the_network_to_the_bit(options):
    plain, other = seeded(), seeded(**options)
    images = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(one, two) for one, two in zip(plain.parameters(), other.parameters(), strict=True))
    assert list(plain.state_dict()) == list(other.state_dict())
    assert torch.equal(plain(images), other(images))


@pytest.mark.parametrize("kernel", [1, 3, 5, 7, "1", "7"])
def test_kernels_by_the_formula(kernel):
    sides, widths, k = [28, 28, 14, 14, 7, 7], [1, 8, 16, 16, 32, 32, 64], int(kernel)
    macs = sum(side**2 * k**2 * n_in * n_out for side, (n_in, n_out) in zip(sides, pairwise(widths), strict=True))
    assert count_cost(small_cnn(kernel=kernel), (1, 28, 28)).macs == macs + 640


def test_a_split_kernel_by_the_formula():
    sides, widths = [28, 28, 14, 14, 7, 7], [1, 8, 16, 16, 32, 32, 64]
    split = sum(3 * side**2 * (n_in + n) * n for side, (n_in, n) in zip(sides, pairwise(widths), strict=True))
    assert count_cost(small_cnn(kernel="3x1"), (1, 28, 28)).macs == split + 640


def test_separable_layers_cost_1_over_n_plus_1_over_k_squared():
    # arXiv:1704.04861, section 3.1; the first layer is whole.
    rows = {}
    for conv in ("standard", "separable"):
        table = count_cost(small_cnn(conv=conv), (1, 28, 28)).by_layer.set_index("layer").macs
        names = table.index.str.extract(r"features\.(conv\d)", expand=False)
        rows[conv] = table.groupby(names).sum()
    assert rows["standard"]["conv1"] == rows["separable"]["conv1"]
    for name, n_out in zip(("conv2", "conv3", "conv4", "conv5", "conv6"), (16, 16, 32, 32, 64), strict=True):
        assert rows["separable"][name] * 9 * n_out == rows["standard"][name] * (n_out + 9)


@pytest.mark.parametrize("bands", ["both", "low"])
@pytest.mark.parametrize("head", ["gap", "flatten", "linear", "conv"])
@pytest.mark.parametrize("side", [27, 28])
def test_bands_halve_the_side(bands, head, side):
    model = small_cnn(
        bands=bands, head=head, input_side=side, in_channels=3, hidden="20-9" if head == "linear" else 500
    )
    assert model(torch.zeros(2, 3, side, side)).shape == (2, 10)
    assert model.features.conv1.in_channels == (12 if bands == "both" else 3)
    assert len(list(model.features(model.bands(torch.zeros(1, 3, side, side))).shape)) == 4
    assert model.bands(torch.zeros(1, 3, side, side)).shape[-2:] == (14, 14)


def test_heads_by_their_parameters():
    features = n_parameters(small_cnn().features)
    counted = {
        "gap": n_parameters(small_cnn()),
        "flatten": n_parameters(small_cnn(head="flatten")),
        "linear": n_parameters(small_cnn(head="linear", hidden="300-100")),
        "conv": n_parameters(small_cnn(head="conv")),
    }
    n = 64 * 7**2
    assert {head: count - features for head, count in counted.items()} == {
        "gap": 650,
        "flatten": 10 * n + 10,
        "linear": 300 * n + 300 + 100 * 300 + 100 + 10 * 100 + 10,
        "conv": 650,
    }
    assert not any(isinstance(module, nn.Linear) for module in small_cnn(head="conv").modules())
