import torch
from torch import nn

from effbench.compression.structure.channel_groups import find_channels
from effbench.compression.structure.channel_trace import trace


class Branches(nn.Module):
    """A sum of two layers, a gate of two halves, and a layer that is not called."""

    def __init__(self):
        super().__init__()
        self.one, self.other, self.gated = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 1)
        self.head, self.unused = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, images):
        left, right = self.gated(self.one(images) + self.other(images)).chunk(2, 1)
        return self.head((left * right).mean((2, 3)))


def test_layers_that_must_keep_as_many_are_one_entry():
    network = Branches().eval()
    channels, kept = find_channels(trace(network, torch.randn(2, 3, 4, 4)), network)
    assert [(one.layer, one.n, len(one.sets)) for one in channels] == [("gated", 3, 3), ("one", 4, 4)]
    gated, summed = channels
    assert sorted(summed.makers) == ["one", "other"]
    (made,) = (touched for touched in gated.touched if touched.role == "makes")
    assert (made.places.tolist(), made.channels.tolist()) == ([0, 1, 2, 3, 4, 5], [0, 1, 2, 0, 1, 2])
    (read,) = (touched for touched in gated.touched if touched.role == "reads")
    assert (read.name, read.places.tolist(), read.channels.tolist()) == ("head", [0, 1, 2], [0, 1, 2])
    assert kept == {"unused": "its forward pass does not call it"}


def test_the_least_important_go_first_and_one_stays():
    network = Branches().eval()
    channels, _ = find_channels(trace(network, torch.randn(2, 3, 4, 4)), network)
    removals = channels[1].removals(torch.tensor([3.0, 1.0, 0.0, 2.0]))
    assert [going.tolist() for going in removals] == [[2], [1], [3]]
