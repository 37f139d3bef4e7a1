import pytest
import torch
from torch import nn

from effbench.compression.structure.channel_trace import OUTPUTS, trace


def images(side=4):
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_layers_make_pass_on_and_read_channels():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4, padding=1), nn.Flatten(),
        nn.Linear(64, 5),
    ).eval()  # fmt: skip
    traced = trace(network, images())
    first, norm, depthwise, last = (traced.layers[network[number]] for number in (0, 1, 3, 5))
    assert [record.name for record in traced.layers.values()] == ["0", "1", "3", "5"]
    assert first.reads.tolist() == [0, 0, 0]
    assert torch.equal(norm.passes, first.makes)
    assert torch.equal(depthwise.passes, first.makes)
    assert depthwise.makes is depthwise.reads is None
    assert torch.equal(last.reads, first.makes.repeat_interleave(16))
    assert traced.labels.reason(last.makes) == OUTPUTS
    assert traced.labels.reason(first.makes) is None
    assert traced.from_outputs == [network[5], network[3], network[1], network[0]]


class Branching(nn.Module):
    """Each step takes the last one twice: as many ways from end to start as two to the power of the steps."""

    def __init__(self, n_steps):
        super().__init__()
        self.stem, self.steps, self.head = nn.Conv2d(3, 4, 1), n_steps, nn.Linear(4, 2)

    def forward(self, images):
        x = self.stem(images)
        for _ in range(self.steps):
            x = torch.relu(x) + torch.sigmoid(x)
        return self.head(x.mean((2, 3)))


def test_the_effort_grows_with_the_operations_not_with_the_ways_through_them(monkeypatch):
    from effbench.compression.structure import channel_trace

    calls, follow = [], channel_trace.follow
    monkeypatch.setattr(channel_trace, "follow", lambda call: calls.append(call.name) or follow(call))
    n_calls = []
    for n_steps in (50, 100, 200):
        network = Branching(n_steps).eval()
        traced = trace(network, images())
        n_calls.append(len(calls))
        calls.clear()
        assert traced.labels.reason(traced.layers[network.stem].makes) is None
    assert n_calls[2] - n_calls[1] == 2 * (n_calls[1] - n_calls[0])


@pytest.mark.parametrize("enabled", [True, False])
def test_an_error_leaves_nothing_behind(enabled):
    class Fails(nn.Sequential):
        def forward(self, images):
            super().forward(images)
            raise ZeroDivisionError

    network = Fails(nn.Conv2d(3, 4, 1)).eval()
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(enabled)
    try:
        with pytest.raises(ZeroDivisionError):
            trace(network, images())
        assert torch.backends.mha.get_fastpath_enabled() == enabled
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_the_layers_of_a_transformer_are_seen():
    network = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    traced = trace(network, torch.randn(2, 3, 8))
    hidden = traced.layers[network.linear1].makes
    assert torch.equal(traced.layers[network.linear2].reads, hidden)
    assert traced.labels.reason(hidden) is None
    assert "add meets them" in traced.labels.reason(traced.layers[network.linear2].makes)
