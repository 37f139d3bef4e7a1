import pytest
import torch
from torch import nn

from effbench.measure.compute import count_cost
from effbench.models import small_cnn
from effbench.models.small_layers import Layers, convolution, kernel_sizes


def convolutions(model):
    return [module for module in model.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize(("groups", "expected"), [(2, [1, 2, 2, 2, 2, 2]), (4, [1, *[4] * 5]), (16, [1, 8, *[16] * 4])])
def test_groups_are_the_most_that_divide_a_layer(groups, expected):
    assert [layer.groups for layer in convolutions(small_cnn(conv="grouped", groups=groups))] == expected


def test_as_many_groups_as_channels_are_a_depthwise_convolution():
    layers = convolutions(small_cnn(conv="grouped", groups=16, channels=(16, 16, 16)))
    assert [layer.groups for layer in layers] == [1, 16, 16]
    assert layers[1].weight.shape == (16, 1, 3, 3)
    assert layers[1].weight.shape == convolution(16, 16, kernel=3, separable=True).depthwise.weight.shape


@pytest.mark.parametrize("groups", [2, 4, 8])
@pytest.mark.parametrize("kernel", [3, "3x1"])
def test_grouped_layers_cost_a_share_of_the_whole_ones(groups, kernel):
    layer, whole = (convolution(16, 32, kernel=kernel, groups=n) for n in (groups, 1))
    costs = [count_cost(one, (16, 9, 9)).macs for one in (layer, whole)]
    assert costs[0] * groups == costs[1]


def test_a_shuffle_of_4_channels_in_2_groups_is_1_3_2_4():
    model = small_cnn(conv="shuffle", groups=2, channels=(4, 4, 4))
    channels = torch.arange(1.0, 5).reshape(1, 4, 1, 1)
    assert model.features.shuffle3(channels).flatten().tolist() == [1, 3, 2, 4]
    assert not hasattr(model.features, "shuffle2"), "before it is a layer of one group"


def crossings(model, groups):
    """Return which groups of the last layer know which groups of layer 1's outputs, (groups, groups) bool."""
    maps = made = torch.rand(1, 16, 6, 6, requires_grad=True)
    for name, layer in model.features.eval().named_children():
        if not name.endswith("1") and not name.startswith("relu"):  # a ReLU may happen to be closed
            made = layer(made)
    rows = []
    for part in made.chunk(groups, dim=1):
        (gradient,) = torch.autograd.grad(part.sum(), maps, retain_graph=True)
        rows.append(torch.stack([(one != 0).any() for one in gradient.chunk(groups, dim=1)]))
    return torch.stack(rows)


@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize("shortcut", [False, True])
def test_without_a_shuffle_no_gradient_crosses_groups_and_with_it_all_do(groups, shortcut):
    for options, met in (
        ({"conv": "grouped"}, torch.eye(groups)),
        ({"conv": "shuffle"}, torch.ones(groups, groups)),
        ({"conv": "grouped", "shuffle": True}, torch.ones(groups, groups)),
    ):
        torch.manual_seed(0)
        model = small_cnn(**options, groups=groups, channels=(16, 16, 32), shortcut=shortcut, n_poolings=0)
        assert torch.equal(crossings(model, groups), met.bool())


@pytest.mark.parametrize("conv", ["standard", "separable", "grouped", "shuffle"])
def test_shortcuts_cost_no_parameter_and_no_multiply_add(conv):
    with_them, without = (small_cnn(conv=conv, shortcut=value) for value in (True, False))
    one, other = (count_cost(model, (1, 28, 28)) for model in (with_them, without))
    assert (one.params, one.macs, one.unknown) == (other.params, other.macs, ())
    assert sorted(name for name, _ in with_them.features.named_children() if "residual" in name) == [
        "residual3",
        "residual5",
    ]
    maps = torch.rand(1, 16, 4, 4)
    layer = with_them.features.residual3.eval()
    assert torch.equal(layer(maps), maps + layer.layers(maps))


def test_a_separable_layer_has_norm_and_relu_within():
    kinds = [type(layer).__name__ for layer in convolution(8, 16, kernel="3x1", separable=True)]
    assert kinds == ["Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "BatchNorm2d", "ReLU", "Conv2d"]
    names = list(dict(convolution(8, 16, kernel=5, separable=True).named_children()))
    assert names == ["depthwise", "norm1", "relu1", "pointwise"]


@pytest.mark.parametrize("kernel", [1, 3, "5", "3x1", "7x1"])
@pytest.mark.parametrize("separable", [False, True])
def test_every_kernel_keeps_the_side(kernel, separable):
    layer = convolution(4, 6, kernel=kernel, separable=separable)
    assert layer(torch.zeros(1, 4, 5, 7)).shape == (1, 6, 5, 7)


@pytest.mark.parametrize("kernel", ["1x1", "x1", "3x3", "-3", "3.0", "", "abc", 2, "4", "4x1", 0, "0", True, 1.5])
def test_what_is_no_kernel_is_refused(kernel):
    with pytest.raises(ValueError, match="kernel must be"):
        kernel_sizes(kernel)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conv": "depthwise"}, "conv must be one of standard, separable, grouped, shuffle, got 'depthwise'"),
        ({"groups": 2}, "groups=2: conv=standard has none; give conv=grouped or conv=shuffle"),
        ({"conv": "separable", "groups": 8}, "groups=8: conv=separable has none"),
        ({"conv": "grouped", "groups": 0}, "groups must be an integer of at least 1, got 0"),
        ({"conv": "shuffle", "groups": 1}, "groups=1 can't be shuffled"),
        ({"conv": "grouped", "shuffle": True, "groups": 1}, "groups=1 can't be shuffled"),
        ({"shuffle": True}, "shuffle=true: conv=standard has no groups to shuffle; give conv=shuffle"),
        ({"shuffle": "yes"}, "shuffle must be true or false, got 'yes'"),
        ({"shortcut": 1}, "shortcut must be true or false, got 1"),
    ],
)
def test_what_means_nothing_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Layers(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conv": "grouped", "groups": 3}, "groups=3 divides no layer of channels 8, 16, 16, 32, 32, 64"),
        ({"shortcut": True, "channels": (8, 16, 8)}, "no layer keeps its number of channels \\(8, 16, 8\\)"),
        ({"shortcut": True, "channels": (1, 2)}, "no layer keeps its number of channels"),
    ],
)
def test_what_would_do_nothing_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        small_cnn(**options)
