import pytest
import torch

from effbench.measure.compute import count_cost
from effbench.models import small_cnn
from effbench.models.octave import OctaveLayer

SHARES = [0, 0.25, 0.5, 1]


class Both(torch.nn.Module):
    """A layer as a network of one input: channels of high frequencies at `side`, of low ones at half of it."""

    def __init__(self, layer, frequencies, side):
        super().__init__()
        self.layer, self.frequencies, self.side = layer, frequencies, side

    def forward(self, values):
        (n_high, n_low), half = self.frequencies, self.side // 2
        high, low = values[:, : n_high * self.side**2], values[:, n_high * self.side**2 :]
        maps = (
            high.reshape(-1, n_high, self.side, self.side) if n_high else None,
            low.reshape(-1, n_low, half, half) if n_low else None,
        )
        return torch.cat([one.flatten(1) for one in self.layer(maps, (self.side, self.side)) if one is not None], dim=1)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize(("n_in", "n_out", "kernel", "side"), [(8, 16, 3, 14), (16, 8, 5, 8), (4, 4, 1, 2)])
def test_multiply_adds_and_activations_by_the_formulas(share, n_in, n_out, kernel, side):
    # arXiv:1904.05049, table 1, of equal shares at both ends.
    before, after = ((n - int(share * n), int(share * n)) for n in (n_in, n_out))
    n_values = before[0] * side**2 + before[1] * (side // 2) ** 2
    network = Both(OctaveLayer(before, after, kernel=kernel, pools=False, shortcut=False), before, side)
    whole = n_in * n_out * kernel**2 * side**2
    assert count_cost(network, (n_values,)).macs == whole * (1 - 0.75 * share * (2 - share))
    assert n_values == n_in * side**2 * (1 - 0.75 * share)
    assert network(torch.zeros(2, n_values)).shape == (2, n_out * side**2 * (1 - 0.75 * share))
    assert sum(path.weight.numel() for path in network.layer.paths.values()) == n_in * n_out * kernel**2


@pytest.mark.parametrize("share", SHARES)
def test_the_parameters_stay_and_the_multiply_adds_of_the_network_fall(share):
    plain, octave = (count_cost(small_cnn(octave=value), (1, 28, 28)) for value in (0, share))
    assert octave.params == plain.params
    assert octave.unknown == ()
    assert octave.macs <= plain.macs
    # By hand, at 28, 28, 14, 14, 7, 7: the first layer gives shares, the last one takes them.
    sides, widths = [28, 28, 14, 14, 7, 7], [1, 8, 16, 16, 32, 32, 64]
    by_hand = 640
    for number, side in enumerate(sides):
        n_in, n_out = widths[number], widths[number + 1]
        low_in, low_out = int(share * n_in) * (number > 0), int(share * n_out) * (number < 5)
        high = (n_in - low_in) * (n_out - low_out)
        by_hand += 9 * (high * side**2 + (n_in * n_out - high) * (side // 2) ** 2)
    assert octave.macs == by_hand


@pytest.mark.parametrize("side", [8, 9, 14, 15, 28, 31])
@pytest.mark.parametrize("options", [{}, {"head": "flatten"}, {"octave": 1}, {"bands": "both"}, {"pooling": "late"}])
def test_odd_sides_and_other_heads(side, options):
    model = small_cnn(**{"octave": 0.5, "input_side": side, "n_poolings": 1, **options})
    outputs = model(torch.randn(2, 1, side, side))
    outputs.square().sum().backward()
    assert outputs.shape == (2, 10)
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_both_frequencies_reach_each_other():
    layer = OctaveLayer((2, 2), (2, 2), kernel=3, pools=False, shortcut=False).eval()
    high, low = torch.rand(1, 2, 4, 4, requires_grad=True), torch.rand(1, 2, 2, 2, requires_grad=True)
    for made in layer((high, low), (4, 4)):
        gradients = torch.autograd.grad(made.sum(), (high, low), retain_graph=True)
        assert all(gradient.abs().sum() > 0 for gradient in gradients)


def test_a_constant_low_map_is_repeated_and_an_average_goes_down():
    layer = OctaveLayer((1, 1), (1, 1), kernel=1, pools=False, shortcut=False).eval()
    with torch.no_grad():
        for path in layer.paths.values():
            path.weight.fill_(1.0)
    high, low = torch.arange(16.0).reshape(1, 1, 4, 4), torch.full((1, 1, 2, 2), 3.0)
    with torch.no_grad():
        to_high, to_low = layer((high, low), (4, 4))
    scale = (1 + 1e-5) ** 0.5
    assert torch.allclose(to_high * scale, high + 3)
    assert torch.allclose(to_low * scale, torch.tensor([[2.5, 4.5], [10.5, 12.5]]) + 3)


def test_a_shortcut_adds_the_input_of_each_frequency():
    with_shortcut, without = (small_cnn(octave=0.5, shortcut=value, channels=(8,) * 4) for value in (True, False))
    costs = [count_cost(model, (1, 28, 28)) for model in (with_shortcut, without)]
    assert (costs[0].params, costs[0].macs) == (costs[1].params, costs[1].macs)
    state = [tensor for tensor in without.state_dict().values()]
    with_shortcut.load_state_dict(dict(zip(with_shortcut.state_dict(), state, strict=True)))
    images = torch.rand(2, 1, 28, 28)
    assert not torch.allclose(with_shortcut.eval()(images), without.eval()(images))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"octave": 0.01}, "octave=0.01: leaves no channel of 8, 16, 16, 32, 32 with low frequencies"),
        ({"octave": 0.5, "channels": (8,), "n_poolings": 1}, "leaves no channel of one layer"),
        (
            {"octave": 0.5, "input_side": 4, "pooling": "early"},
            "the map after layer 2 has side 1, of which there is no",
        ),
        ({"octave": 0.5, "shortcut": True, "channels": (8, 8)}, "no layer keeps its channels of both frequencies"),
    ],
)
def test_what_would_do_nothing_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        small_cnn(**options)
