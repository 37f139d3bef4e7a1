import torch
import torch_pruning
from torch import nn

from effbench.compression.structure.touched import Touched, importance_group


def touched(layer, role, channels):
    places = torch.arange(len(channels))
    return Touched(layer=layer, name="", role=role, places=places, channels=torch.tensor(channels))


def importance(n, *layers):
    return torch_pruning.importance.GroupMagnitudeImportance(p=1, normalizer=None)(importance_group(n, layers))


def test_importance_is_the_mean_over_all_that_a_channel_has():
    made, read = nn.Linear(2, 3), nn.Linear(3, 4)
    expected = (made.weight.abs().sum(1) + read.weight.abs().sum(0)) / 2
    group = importance(3, touched(made, "makes", [0, 1, 2]), touched(read, "reads", [0, 1, 2]))
    assert torch.allclose(group, expected)


def test_a_channel_at_two_places_has_what_both_have():
    made, norm, read = nn.Linear(2, 6), nn.BatchNorm1d(6), nn.Linear(3, 4)
    nn.init.uniform_(norm.weight)
    halves = (made.weight.abs().sum(1) + norm.weight).reshape(2, 3).sum(0) + read.weight.abs().sum(0)
    twice = [0, 1, 2, 0, 1, 2]
    group = importance(
        3, touched(made, "makes", twice), touched(norm, "passes", twice), touched(read, "reads", [0, 1, 2])
    )
    assert group.shape == (3,)
    assert torch.allclose(group / group.mean(), halves / halves.mean())


def test_a_criterion_of_norms_says_nothing_without_one():
    group = importance_group(3, [touched(nn.Linear(2, 6), "makes", [0, 1, 2, 0, 1, 2])])
    assert torch_pruning.importance.BNScaleImportance()(group) is None


def test_what_a_layer_has_on_each_side():
    layer = nn.Conv2d(2, 6, 1)
    assert touched(layer, "makes", list(range(6))).is_whole(6)
    assert touched(layer, "reads", [0, 1]).is_whole(2)
    assert not touched(layer, "makes", [0, 1, 2]).is_whole(3)
    assert not touched(layer, "makes", [1, 0, 2, 3, 4, 5]).is_whole(6)


def test_a_grouped_transposed_convolution_makes_and_reads_by_group():
    layer = nn.ConvTranspose2d(4, 6, 2, groups=2)
    whole = layer.weight.detach().abs().sum((2, 3))  # (inputs, outputs of a group)
    makes = torch.cat([whole[:2].sum(0), whole[2:].sum(0)])
    assert torch.allclose(importance(6, touched(layer, "makes", list(range(6)))), makes)
    assert torch.allclose(importance(4, touched(layer, "reads", list(range(4)))), whole.sum(1))
