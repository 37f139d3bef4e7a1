"""Layers whose class has a forward of its own: followed where an operation takes their weight, otherwise kept whole."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effbench.compression.structure.channels import remove_channels
from effbench.compression.structure.edits import edits_of, record_changes
from effbench.compression.structure.known_layers import is_known
from effbench.compression.structure.rebuild import apply_edits


class PadsFirst(nn.Conv2d):
    def forward(self, images):
        return F.conv2d(F.pad(images, (1, 1, 1, 1)), self.weight, self.bias, self.stride, 0, 1, self.groups)


class PadsAndCalls(nn.Conv2d):
    def forward(self, images):
        return super().forward(F.pad(images, (1, 1, 1, 1)))


class Scaled(nn.Linear):
    def forward(self, values):
        return 2 * F.linear(values, weight=self.weight, bias=self.bias)


class Transposed(nn.ConvTranspose2d):
    def forward(self, images):
        return F.relu(F.conv_transpose2d(images, self.weight, self.bias, self.stride, 0, 0, self.groups))


class NormAndReLU(nn.BatchNorm2d):
    def forward(self, images):
        norm = F.batch_norm(images, self.running_mean, self.running_var, self.weight, self.bias, self.training, 0.1)
        return F.relu(norm)


class NormsInstances(nn.InstanceNorm2d):
    def forward(self, images):
        return F.relu(F.instance_norm(images, weight=self.weight, bias=self.bias))


class GroupsAndReLU(nn.GroupNorm):
    def forward(self, images):
        return F.relu(F.group_norm(images, self.num_groups, self.weight, self.bias, self.eps))


class NormOfImages(nn.LayerNorm):
    def forward(self, images):
        values = images.permute(0, 2, 3, 1)
        return F.layer_norm(values, self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


def conv(n_in, n_out):
    return nn.Conv2d(n_in, n_out, 3, padding=1)


def with_layer(layer, n=8):
    """The layer between two convolutions; the second reads n channels."""
    return nn.Sequential(conv(2, 8), layer, nn.ReLU(), conv(n, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), Scaled(8, 3))


def forward_replaced():
    network = with_layer(conv(8, 8))
    forward = network[1].forward
    network[1].forward = lambda images: 2 * forward(images)
    return network


FOLLOWED = {
    # The network, and how many channels its convolutions keep when a quarter goes.
    "padding first": (lambda: with_layer(PadsFirst(8, 8, 3)), [6, 6, 6]),
    "padding, then the class's": (lambda: with_layer(PadsAndCalls(8, 8, 3)), [6, 6, 6]),
    "depthwise": (lambda: with_layer(PadsFirst(8, 8, 3, groups=8)), [6, 6, 6]),
    "two groups": (lambda: with_layer(PadsFirst(8, 8, 3, groups=2)), [6, 6, 6]),
    "transposed": (lambda: with_layer(Transposed(8, 16, 2, 2, groups=2), 16), [6, 12, 6]),
    "batch norm": (lambda: with_layer(NormAndReLU(8)), [6, 6]),
    "instance norm": (lambda: with_layer(NormsInstances(8, affine=True)), [6, 6]),
    "group norm": (lambda: with_layer(GroupsAndReLU(2, 8)), [6, 6]),
    "layer norm of images": (lambda: with_layer(NormOfImages(8)), [6, 6]),
    "across processes": (lambda: with_layer(nn.SyncBatchNorm(8)), [6, 6]),
}


class Adapted(nn.Linear):
    """A layer with weights that torch's has not."""

    def __init__(self, n_in, n_out):
        super().__init__(n_in, n_out)
        self.down, self.up = nn.Parameter(torch.randn(2, n_in)), nn.Parameter(torch.randn(n_out, 2))

    def forward(self, values):
        return F.linear(values, self.weight, self.bias) + values @ self.down.T @ self.up.T


class Standardised(nn.Conv2d):
    def forward(self, images):
        return F.conv2d(images, self.weight - self.weight.mean((1, 2, 3), keepdim=True), self.bias, padding=1)


class OfEight(nn.Conv2d):
    def forward(self, images):
        return F.conv2d(images, self.weight, self.bias, 1, 1, 1, 8)


class NormOfEight(nn.LayerNorm):
    def forward(self, images):
        return F.layer_norm(images.permute(0, 2, 3, 1), (8,), self.weight, self.bias).permute(0, 3, 1, 2)


KEPT = {
    "weights that torch's has not": (
        lambda: nn.Sequential(conv(2, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), Adapted(8, 8), nn.ReLU(),
                              nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)),
        {"3": "does not call it", "0": "sums over them"},
    ),
    "another weight": (lambda: with_layer(Standardised(8, 8, 3)), {"1": "does not call it", "0": "convolution in 1"}),
    "groups that are written": (lambda: with_layer(OfEight(8, 8, 3, groups=8)), {"0": "number of channels"}),
    "a shape that is written": (lambda: with_layer(NormOfEight(8)), {"0": "number of channels"}),
}  # fmt: skip


def seeded(build, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build().eval()
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._NormBase | nn.GroupNorm | nn.LayerNorm):
                module.weight.data.uniform_(0.5, 1.5)
        return network


def images(seed=0):
    return torch.randn(3, 2, 7, 7, generator=torch.Generator().manual_seed(seed))


def quarter(layers):
    sets = [channels.removals(torch.arange(channels.n, dtype=torch.float32)) for channels in layers]
    return [torch.cat([*one[: len(of.sets) // 4]]) for one, of in zip(sets, layers, strict=True)]


@pytest.mark.parametrize("kind", FOLLOWED)
def test_what_is_followed_loses_the_share_asked_and_comes_back(kind):
    build, widths = FOLLOWED[kind]
    network = seeded(build)
    before = copy.deepcopy(network)
    removal = remove_channels(network, images(), quarter)
    assert not removal.kept
    convolutions = (nn.Conv2d, nn.ConvTranspose2d)
    assert [layer.out_channels for layer in network if isinstance(layer, convolutions)] == widths
    record_changes(before, network)
    fresh = seeded(build, 1)
    apply_edits(fresh, edits_of(network))
    fresh.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.equal(fresh(images(2)), network(images(2)))


@pytest.mark.parametrize("kind", KEPT)
def test_what_is_not_followed_stays_whole_and_is_named(kind):
    build, reasons = KEPT[kind]
    network = seeded(build)
    removal = remove_channels(network, images(), quarter)
    assert removal.kept.keys() == reasons.keys()
    assert all(reason in removal.kept[name] for name, reason in reasons.items())


def test_a_forward_that_was_replaced_stays_in_its_place():
    network = seeded(forward_replaced)
    replaced = network[1].forward
    assert not remove_channels(network, images(), quarter).kept
    assert network[1].out_channels == 6
    assert network[1].forward is replaced


def test_a_layer_is_known_where_it_does_what_its_class_says():
    assert is_known(nn.Conv2d(1, 1, 1)) and is_known(nn.LayerNorm(3)) and not is_known(nn.LayerNorm((3, 3)))
    assert not is_known(PadsFirst(1, 1, 1)) and not is_known(forward_replaced()[1]) and not is_known(nn.ReLU())
