import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from effbench.compression.structure.channel_groups import Channels
from effbench.compression.structure.channels import kept_after, remove_channels
from effbench.compression.structure.resizing import resize, silenced
from effbench.compression.structure.shuffle import Shuffle
from effbench.compression.structure.shuffled_channels import find_shuffle, shuffles_replaced
from effbench.compression.structure.touched import Touched


@st.composite
def shuffles(draw):
    groups, before, after = (draw(st.integers(1, 6)) for _ in range(3))
    return Shuffle(
        n=math.lcm(groups, before, after) * draw(st.integers(1, 12)), groups=groups, before=before, after=after
    )


def layers(shuffle, seed):
    """Grouped convolution, batch norm; the shuffle; depthwise convolution, grouped convolution."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        n = shuffle.n
        made = nn.Conv2d(2 * shuffle.before, n, 3, groups=shuffle.before)
        norm, depthwise = nn.BatchNorm2d(n), nn.Conv2d(n, n, 3, groups=n)
        read = nn.Conv2d(n, 3 * shuffle.after, 1, groups=shuffle.after)
        for buffer in (norm.running_mean, norm.running_var, norm.weight.data, norm.bias.data):
            buffer.uniform_(0.5, 2)
        return nn.ModuleList([made, norm, depthwise, read]).eval()


def compute(network, shuffle, images):
    made, norm, depthwise, read = network
    with torch.no_grad():
        return read(depthwise(F.channel_shuffle(F.relu(norm(made(images))), shuffle.groups)))


@given(shuffles().filter(lambda shuffle: shuffle.n > shuffle.step), st.integers(0, 9), st.data())
def test_removed_channels_are_as_those_that_nothing_reads(shuffle, seed, data):
    network = layers(shuffle, seed)
    made, norm, depthwise, read = network
    own = torch.arange(shuffle.n)
    sides = ((made, False, "makes"), (norm, False, "passes"), (depthwise, True, "passes"), (read, True, "reads"))
    touched = [
        Touched(layer=layer, name="", role=role, places=own, channels=own, is_after=after)
        for layer, after, role in sides
    ]
    assert find_shuffle(shuffle.n, shuffle.groups, touched[:2], touched[2:]) == shuffle
    channels = Channels(layer="", n=shuffle.n, touched=tuple(touched), shuffle=shuffle)
    sets = channels.removals(torch.rand(shuffle.n, generator=torch.Generator().manual_seed(seed)))
    going = torch.cat([torch.zeros(0, dtype=torch.int64), *sets[: data.draw(st.integers(0, len(sets)))]])
    images = torch.randn(2, made.in_channels, 6, 6, generator=torch.Generator().manual_seed(seed))
    whole = compute(network, shuffle, images)
    kept = kept_after([(channels, going)])
    with silenced(kept):
        unread = compute(network, shuffle, images)
    undo = resize(kept)
    n_left = shuffle.n - len(going)
    assert (made.out_channels, norm.num_features, depthwise.groups, read.in_channels) == (n_left,) * 4
    assert made.weight.shape[0] == len(norm.running_var) == depthwise.weight.shape[0] == n_left
    assert torch.allclose(compute(network, shuffle, images), unread, atol=1e-4)
    undo()
    assert torch.equal(compute(network, shuffle, images), whole)


class ChannelShuffle(nn.Module):
    def __init__(self, groups):
        super().__init__()
        self.groups = groups

    def forward(self, images):
        return F.channel_shuffle(images, self.groups)


class OddChannelShuffle(ChannelShuffle):
    """Does not say how it shuffles."""

    def __init__(self, groups):
        super().__init__(groups)
        del self.groups
        self.n = groups

    def forward(self, images):
        return F.channel_shuffle(images, self.n)


def shuffled_network(shuffle):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 12, 1, groups=3), shuffle, nn.Conv2d(12, 6, 1, groups=3), nn.Flatten(), nn.Linear(24, 2)
        ).eval()


def images(n_channels=3):
    return torch.randn(2, n_channels, 2, 2, generator=torch.Generator().manual_seed(0))


def test_what_a_shuffle_was_given_is_known_and_its_forward_comes_back():
    model = shuffled_network(ChannelShuffle(3))
    function, given = F.channel_shuffle, []
    with shuffles_replaced(model, lambda images, groups: given.append(groups) or images):
        assert torch.equal(model[1](images(12)), images(12))
        assert torch.equal(F.channel_shuffle(images(12), 4), images(12))
        assert F.channel_shuffle(images(12), groups=2).shape == (2, 12, 2, 2)
    assert given == [3, 4, 2]
    assert F.channel_shuffle is function
    assert torch.equal(model[1](images(12)), F.channel_shuffle(images(12), 3))


def test_an_error_leaves_no_shuffle_replaced():
    model, function = shuffled_network(ChannelShuffle(3)), F.channel_shuffle
    with pytest.raises(ZeroDivisionError), shuffles_replaced(model, lambda images, groups: images):
        raise ZeroDivisionError
    assert F.channel_shuffle is function
    assert "forward" not in vars(model[1])


def layers_of(model):
    """The removable channels of a network, by layer."""
    layers = {}

    def choose(channels):
        layers.update({of_layer.layer: of_layer for of_layer in channels})
        return [torch.zeros(0, dtype=torch.int64) for _ in channels]

    remove_channels(model, images(), choose)
    return layers


def test_the_channels_between_grouped_convolutions_go_through_their_shuffle():
    channels = layers_of(shuffled_network(ChannelShuffle(3)))["0"]
    assert channels.shuffle == Shuffle(n=12, groups=3, before=3, after=3)
    assert [(touched.is_after, touched.role) for touched in channels.touched] == [(False, "makes"), (True, "reads")]


def test_where_the_groups_of_a_shuffle_are_not_known_its_channels_stay():
    model = shuffled_network(OddChannelShuffle(3))
    assert set(layers_of(model)) == {"2"}


def test_importance_is_taken_of_the_weights_that_a_channel_meets_after_the_shuffle():
    import torch_pruning

    model = shuffled_network(ChannelShuffle(3))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[2].weight.zero_()
        model[2].weight[0, 1] = 5.0  # place 1 after the shuffle: there stands channel 4
    channels = layers_of(model)["0"]
    importance = torch_pruning.importance.GroupMagnitudeImportance(p=1)(channels.group)
    assert int(importance.argmax()) == 4
