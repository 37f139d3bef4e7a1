"""Networks as people write them: what is followed loses the share asked, what is not stays whole and is named."""

import copy
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effbench.compression.structure.channels import remove_channels
from effbench.compression.structure.edits import edits_of, record_changes
from effbench.compression.structure.rebuild import apply_edits


class Net(nn.Module):
    """Layers by name, and a forward pass that uses them."""

    def __init__(self, forward, **layers):
        super().__init__()
        self.how = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, images):
        return self.how(self, images)


def conv(n_in, n_out, **options):
    return nn.Conv2d(n_in, n_out, 3, padding=1, **options)


def gap(images):
    return images.mean((2, 3))


def seeded(build, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().eval()


def images(seed=0, side=8):
    return torch.randn(3, 2, side, side, generator=torch.Generator().manual_seed(seed))


def quarter(layers):
    """A quarter of each layer's channels, by number."""
    sets = [channels.removals(torch.arange(channels.n, dtype=torch.float32)) for channels in layers]
    return [
        torch.cat([torch.zeros(0, dtype=torch.int64), *one[: len(of.sets) // 4]])
        for one, of in zip(sets, layers, strict=True)
    ]


def swiglu(self, x):
    gate, value = self.a(x).chunk(2, 1)
    return self.f(gap(self.b(F.silu(gate) * value)))


def three_parts(self, x):
    one, two, three = self.a(x).chunk(3, 1)
    return self.f(gap(self.b(one + two * three)))


def unequal_readers(self, x):
    left, right = self.a(x).chunk(2, 1)
    return self.f(gap(self.b(left)) + gap(self.c(right)))


def squeezed(self, x):
    x = self.a(x)
    return self.f(gap(self.b(x * torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3), keepdim=True))))))))


def one_gate(self, x):
    x = self.a(x)
    return self.f(gap(self.b(x * torch.sigmoid(self.gate(x)))))


def mixer(self, x):
    x = self.a(x).flatten(2).transpose(1, 2)  # (N, 64, C)
    x = x + self.tokens_out(F.gelu(self.tokens_in(x.transpose(1, 2)))).transpose(1, 2)
    return self.f(self.b(x).mean(1))


def tokens(self, x):
    x = self.n(self.a(x).flatten(2).transpose(1, 2))
    return self.f((x + self.q(F.gelu(self.p(x)))).mean(1))


FOLLOWED = {
    # The network, then how many channels the layers named keep when a quarter goes.
    "chunk": (lambda: Net(swiglu, a=conv(2, 16), b=conv(8, 8), f=nn.Linear(8, 3)), {"a": 12, "b": 6}),
    "chunk in three": (lambda: Net(three_parts, a=conv(2, 24), b=conv(8, 8), f=nn.Linear(8, 3)), {"a": 18, "b": 6}),
    "halves read apart": (
        lambda: Net(unequal_readers, a=conv(2, 16), b=conv(8, 8), c=conv(8, 8), f=nn.Linear(8, 3)),
        {"a": 12, "b": 6, "c": 6},
    ),
    "nn.GLU": (
        lambda: Net(lambda s, x: s.f(gap(s.b(s.glu(s.a(x))))), a=conv(2, 16), glu=nn.GLU(1), b=conv(8, 8),
                    f=nn.Linear(8, 3)),
        {"a": 12, "b": 6},
    ),
    "split in halves": (
        lambda: Net(lambda s, x: s.f(gap((lambda u, v: s.b(u * v))(*torch.split(t := s.a(x), t.shape[1] // 2, 1)))),
                    a=conv(2, 16), b=conv(8, 8), f=nn.Linear(8, 3)),
        {"a": 12, "b": 6},
    ),
    "pixel shuffle": (
        lambda: Net(lambda s, x: s.f(gap(s.b(F.pixel_shuffle(s.a(x), 2)))), a=conv(2, 16), b=conv(4, 8),
                    f=nn.Linear(8, 3)),
        {"a": 12, "b": 6},
    ),
    "pixel unshuffle": (
        lambda: Net(lambda s, x: s.f(gap(s.b(F.pixel_unshuffle(s.a(x), 2)))), a=conv(2, 8), b=conv(32, 8),
                    f=nn.Linear(8, 3)),
        {"a": 6, "b": 6},
    ),
    "flip": (lambda: Net(lambda s, x: s.f(gap(s.b(s.a(x).flip(1)))), a=conv(2, 8), b=conv(8, 8), f=nn.Linear(8, 3)),
             {"a": 6, "b": 6}),
    "pooled, channels last": (
        lambda: Net(lambda s, x: s.f(F.adaptive_avg_pool2d(s.a(x).to(memory_format=torch.channels_last), 1).flatten(1)),
                    a=conv(2, 8), f=nn.Linear(8, 3)),
        {"a": 6},
    ),
    "squeeze and excitation": (
        lambda: Net(squeezed, a=conv(2, 8), down=nn.Conv2d(8, 4, 1), up=nn.Conv2d(4, 8, 1), b=conv(8, 8),
                    f=nn.Linear(8, 3)),
        {"a": 6, "down": 3, "up": 6, "b": 6},
    ),
    "gate of one channel": (
        lambda: Net(one_gate, a=conv(2, 8), gate=nn.Conv2d(8, 1, 1), b=conv(8, 8), f=nn.Linear(8, 3)),
        {"a": 6, "gate": 1, "b": 6},
    ),
    "flattened": (
        lambda: Net(lambda s, x: s.f(s.b(x := s.a(x)).flatten(1)), a=conv(2, 8), b=conv(8, 4), f=nn.Linear(256, 3)),
        {"a": 6, "b": 3},
    ),
    "concatenated": (
        lambda: Net(lambda s, x: s.f(gap(s.c(torch.cat([s.a(x), x, s.b(x)], 1)))), a=conv(2, 8), b=conv(2, 4),
                    c=conv(14, 8), f=nn.Linear(8, 3)),
        {"a": 6, "b": 3, "c": 6},
    ),
    "transposed, grouped": (
        lambda: Net(lambda s, x: s.f(gap(s.b(s.a(x)))), a=conv(2, 16),
                    b=nn.ConvTranspose2d(16, 8, 2, groups=2), f=nn.Linear(8, 3)),
        {"a": 12, "b": 6},
    ),
    "one layer, called twice": (
        lambda: Net(lambda s, x: s.f(gap(s.b(F.relu(s.b(F.relu(s.a(x))))))), a=conv(2, 8), b=conv(8, 8),
                    f=nn.Linear(8, 3)),
        {"a": 6, "b": 6},
    ),
    "called by keyword": (
        lambda: Net(lambda s, x: s.f(input=gap(s.b(input=s.a(input=x)))), a=conv(2, 8), b=conv(8, 8),
                    f=nn.Linear(8, 3)),
        {"a": 6, "b": 6},
    ),
    "tokens mixed": (
        lambda: Net(mixer, a=conv(2, 8), tokens_in=nn.Linear(64, 16), tokens_out=nn.Linear(16, 64), b=nn.Linear(8, 8),
                    f=nn.Linear(8, 3)),
        {"tokens_in": 12, "b": 6},
    ),
    "layer norm": (
        lambda: Net(tokens, a=conv(2, 8), n=nn.LayerNorm(8), p=nn.Linear(8, 16), q=nn.Linear(16, 8),
                    f=nn.Linear(8, 3)),
        {"a": 6, "p": 12, "q": 6},
    ),
    **{
        f"norm {norm}": (
            lambda norm=norm: Net(lambda s, x: s.f(gap(s.b(F.relu(s.n(s.a(x)))))), a=conv(2, 8), n=norm,
                                  b=conv(8, 8), f=nn.Linear(8, 3)),
            {"a": 6, "b": 6},
        )
        for norm in (nn.GroupNorm(1, 8), nn.GroupNorm(2, 8), nn.GroupNorm(8, 8), nn.LocalResponseNorm(3),
                     nn.InstanceNorm2d(8), nn.InstanceNorm2d(8, affine=True), nn.PReLU(8), nn.PReLU())
    },
}  # fmt: skip


def width(layer):
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


@pytest.mark.parametrize("kind", FOLLOWED)
def test_what_is_followed_loses_the_share_asked_and_comes_back(kind):
    build, widths = FOLLOWED[kind]
    network = seeded(build)
    before = copy.deepcopy(network)
    removal = remove_channels(network, images(), quarter)
    assert {name: width(network.get_submodule(name)) for name in widths} == widths
    assert removal.kept.keys() <= {"tokens_out"}
    record_changes(before, network)
    fresh = seeded(build, 1)
    apply_edits(fresh, edits_of(network))
    fresh.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.equal(fresh(images(2)), network(images(2)))


def attention(self, x):
    x = self.a(x).flatten(2).transpose(1, 2)
    x = x + self.m(x, x, x, need_weights=False)[0]
    return self.f((x + self.q(F.relu(self.p(x)))).mean(1))


def windows(self, x):
    x = self.a(x).permute(0, 2, 3, 1).roll((1, 1), (1, 2))
    n, h, w, c = x.shape
    x = x.view(n, 2, h // 2, 2, w // 2, c).permute(0, 1, 3, 2, 4, 5).reshape(n * 4, -1, c)
    q, k, v = self.qkv(x).view(n * 4, -1, 3, 2, c // 2).permute(2, 0, 3, 1, 4)
    x = x + self.o((q @ k.transpose(-1, -2)).softmax(-1).matmul(v).transpose(1, 2).reshape(n * 4, -1, c))
    return self.f((x + self.q(F.relu(self.p(x)))).mean(1).view(n, 4, c).mean(1))


def recurrent(self, x):
    return self.f(F.relu(self.p(self.l(self.a(x).flatten(2).transpose(1, 2))[0][:, -1])))


def deformed(self, x):
    x = self.a(x)
    return self.f(gap(self.b(self.d(x, self.offsets(x)))))


def numbered(self, x):
    return self.f(gap(self.b(self.a(x).view(-1, 8, 8, 8))))


def scaled(self, x):
    return self.f(gap(self.b(self.a(x) * self.scale)))


def with_parameter(network, name, *shape):
    setattr(network, name, nn.Parameter(torch.randn(*shape)))
    return network


def sharing_weights():
    network = Net(lambda s, x: s.f(gap(s.d(s.b(F.relu(s.c(F.relu(s.a(x)))))))), a=conv(2, 8), b=conv(8, 8),
                  c=conv(8, 8), d=conv(8, 8), f=nn.Linear(8, 3))  # fmt: skip
    network.c.weight = network.b.weight
    return network


def deformable():
    from torchvision.ops import DeformConv2d

    return Net(deformed, a=conv(2, 8), offsets=conv(8, 18), d=DeformConv2d(8, 4, 3, padding=1), b=conv(4, 8),
               f=nn.Linear(8, 3))  # fmt: skip


def read_by(forward, **layers):
    return lambda: Net(forward, a=conv(2, 8), b=conv(8, 8), f=nn.Linear(8, 3), **layers)


KEPT = {
    # The network, which layers stay whole for what reason, which lose a quarter.
    "slice": (read_by(lambda s, x: s.f(gap(s.b(s.a(x)))[:, :3].repeat(1, 3)[:, :8])), {"b": "slice"}, {"a": 6}),
    "split by constants": (
        lambda: Net(lambda s, x: s.f(gap(s.b(torch.cat([s.c((t := s.a(x).split([2, 6], 1))[0]), t[1]], 1)))),
                    a=conv(2, 8), c=conv(2, 4), b=conv(10, 8), f=nn.Linear(8, 3)),
        {"a": "split_with_sizes divides them into 2, 6"}, {"c": 3, "b": 6},
    ),
    "bare scale": (lambda: with_parameter(read_by(scaled)(), "scale", 1, 8, 1, 1), {"a": "mul meets them"}, {"b": 6}),
    "bare matrix": (
        lambda: with_parameter(read_by(lambda s, x: s.f(torch.einsum("nc,cd->nd", gap(s.b(s.a(x))), s.w)))(),
                               "w", 8, 8),
        {"b": "bmm sums over them"}, {"a": 6},
    ),
    "bilinear": (
        read_by(lambda s, x: s.f(s.both(gap(s.b(s.a(x))), gap(s.b(s.a(x))))), both=nn.Bilinear(8, 8, 8)),
        {"b": "both \\(Bilinear\\) can't be followed"}, {"a": 6},
    ),
    "weight of another": (sharing_weights, {"b": "b.weight is c.weight, too", "c": "c.weight is b.weight, too"},
                          {"d": 6}),
    "weight used outside": (
        read_by(lambda s, x: s.f(gap(s.b(s.a(x)))) + s.a.weight.sum()), {"a": "a.weight is used by sum, too"}, {"b": 6},
    ),
    "mean over channels": (read_by(lambda s, x: s.f(gap(s.b((t := s.a(x)) - t.mean(1, keepdim=True))))),
                           {"a": "mean takes them together"}, {"b": 6}),
    "softmax": (read_by(lambda s, x: s.f(gap(s.b(s.a(x).softmax(1))))), {"a": "_softmax takes them"}, {"b": 6}),
    "attention": (
        lambda: Net(attention, a=conv(2, 8), m=nn.MultiheadAttention(8, 2, batch_first=True), p=nn.Linear(8, 16),
                    q=nn.Linear(16, 8), f=nn.Linear(8, 3)),
        {"m.out_proj": "does not call it", "a": "m \\(MultiheadAttention\\)"}, {"p": 12},
    ),
    "window attention": (
        lambda: Net(windows, a=conv(2, 8), qkv=nn.Linear(8, 24), o=nn.Linear(8, 8), p=nn.Linear(8, 16),
                    q=nn.Linear(16, 8), f=nn.Linear(8, 3)),
        {"qkv": "view divides", "a": ""}, {"p": 12},
    ),
    "recurrent": (
        lambda: Net(recurrent, a=conv(2, 8), l=nn.LSTM(8, 6, batch_first=True), p=nn.Linear(6, 8), f=nn.Linear(8, 3)),
        {"a": "l \\(LSTM\\)"}, {"p": 6},
    ),
    "deformable convolution": (deformable, {"a": "deform_conv2d", "offsets": "deform_conv2d"}, {"b": 6}),
    "a number of channels that is written": (read_by(numbered), {"a": "names the number of channels"}, {"b": 6}),
    "never called": (read_by(lambda s, x: s.f(gap(s.b(s.a(x)))), aux=conv(8, 8)),
                     {"aux": "does not call it"}, {"a": 6, "b": 6}),
}  # fmt: skip


@pytest.mark.parametrize("kind", KEPT)
def test_what_is_not_followed_stays_whole_and_is_named(kind):
    build, reasons, widths = KEPT[kind]
    network = seeded(build)
    removal = remove_channels(network, images(), quarter)
    for name, reason in reasons.items():
        assert re.search(reason, removal.kept[name])
    assert {name: width(network.get_submodule(name)) for name in widths} == widths


def test_a_norm_over_channels_takes_its_statistics_over_those_that_are_kept():
    network = seeded(lambda: nn.Sequential(conv(2, 8), nn.GroupNorm(2, 8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 3)))
    expected = seeded(lambda: nn.Sequential(conv(2, 6), nn.GroupNorm(2, 6), nn.ReLU(), nn.Flatten(), nn.Linear(384, 3)))
    kept = [1, 2, 3, 5, 6, 7]
    with torch.no_grad():
        network[1].weight.copy_(torch.arange(8.0))
        for name in ("weight", "bias"):
            for layer in (0, 1):
                getattr(expected[layer], name).copy_(getattr(network[layer], name)[kept])
        expected[4].weight.copy_(network[4].weight.view(3, 8, 64)[:, kept].flatten(1))
        expected[4].bias.copy_(network[4].bias)
        remove_channels(network, images(), lambda layers: [torch.tensor([0, 4])])
        assert torch.equal(network(images(1)), expected(images(1)))


def test_a_removal_is_checked_where_a_norm_is_in_the_network():
    # What a network computes from its own number of channels no operation tells.
    def forward(self, x):
        x = self.n(self.a(x))
        return self.f(gap(self.b(x * (1 + (len(self.a.weight) == 8)))))

    network = seeded(lambda: Net(forward, a=conv(2, 8), n=nn.GroupNorm(1, 8), b=conv(8, 8), f=nn.Linear(8, 3)))
    removal = remove_channels(network, images(), quarter)
    assert "mixes or reorders them" in removal.kept["a"]
    assert (network.a.out_channels, network.b.out_channels) == (8, 6)


def test_none_left_is_one_line_that_says_why():
    network = seeded(lambda: with_parameter(Net(lambda s, x: s.f(gap(s.a(x)) * s.w), a=conv(2, 8), f=nn.Linear(8, 3)),
                                            "w", 8))  # fmt: skip
    with pytest.raises(ValueError, match=r"none can be removed.*; a: mul meets them") as refusal:
        remove_channels(network, images(), quarter)
    assert "\n" not in str(refusal.value)
