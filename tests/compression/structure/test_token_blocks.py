"""Sequences of blocks are found by what they do, and what is none is told apart."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import VisionTransformer, resnet18
from torchvision.models.swin_transformer import SwinTransformer

from effbench.compression.structure.token_blocks import find_token_blocks
from effbench.models import small_vit


class Odd(nn.Module):
    """A user's block: its own names, registered in another order than they are called, a dropout used twice."""

    def __init__(self, width=8, *, scores=False, gate=False):
        super().__init__()
        self.second = nn.Sequential(nn.Linear(width, 12), nn.GELU(), nn.Linear(12, width))
        self.drop, self.scores, self.gate = nn.Dropout(0.2), scores, gate
        self.after, self.before = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix = Mix(width, scores)

    def forward(self, tokens):
        tokens = self.drop(self.mix(self.before(tokens))) + tokens
        mixed = self.drop(self.second(self.after(tokens)))
        return tokens + (0.5 * mixed if self.gate else mixed)


class Mix(nn.Module):
    def __init__(self, width, scores):
        super().__init__()
        self.three, self.out, self.scores = nn.Linear(width, 3 * width), nn.Linear(width, width), scores

    def forward(self, tokens):
        queries, keys, values = self.three(tokens).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        if self.scores:
            mixed = (queries @ keys.transpose(-2, -1)).softmax(-1) @ values
        else:
            mixed = F.scaled_dot_product_attention(queries, keys, values)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Net(nn.Module):
    def __init__(self, blocks, n_registers=0, *, in_front=True, width=8, context=None):
        super().__init__()
        self.patches = nn.Conv2d(1, width, 4, stride=4)
        self.registers = nn.Parameter(torch.randn(1, n_registers, width))
        self.body, self.in_front, self.context = blocks, in_front, context
        self.head = nn.Linear(width, 4)

    def forward(self, images):
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        registers = self.registers.expand(len(images), -1, -1)
        tokens = torch.cat([registers, tokens] if self.in_front else [tokens, registers], 1)
        if isinstance(self.body, nn.Sequential):
            tokens = self.body(tokens)
        else:
            for block in self.body:
                tokens = block(tokens) if self.context is None else block(tokens, context=self.context)
        return self.head(tokens.mean(1))


def torchvisions(n_layers=2):
    return VisionTransformer(32, 8, n_layers, 2, 16, 32, num_classes=4)


@pytest.mark.parametrize("kind", [nn.Sequential, lambda *blocks: nn.ModuleList(blocks)])
@pytest.mark.parametrize("n_registers", [0, 1, 3])
def test_a_users_own_blocks_are_found(kind, n_registers):
    network = Net(kind(Odd(), Odd(), Odd()), n_registers).train()
    modes = [module.training for module in network.modules()]
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = find_token_blocks(network, torch.zeros(2, 1, 12, 12))
    assert (found.path, found.n_blocks, found.n_patches, found.n_special) == ("body", 3, 9, n_registers)
    assert found.attention == ("before", "mix", "drop")
    assert found.perceptron == ("after", "second", "drop")
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_those_of_torchvision_and_small_vit_are():
    found = find_token_blocks(torchvisions(), torch.zeros(2, 3, 32, 32))
    assert (found.path, found.n_patches, found.n_special) == ("encoder.layers", 16, 1)
    assert found.attention == ("ln_1", "self_attention", "dropout")
    found = find_token_blocks(small_vit(patch=2, depth=2, heads=2, width=8, input_side=8), torch.zeros(2, 1, 8, 8))
    assert (found.n_patches, found.n_special) == (16, 0)


def swin():
    return SwinTransformer([4, 4], 8, [2, 2], [2, 2], [2, 2], num_classes=4)


class Taking(Odd):
    def forward(self, tokens, context=None):
        return super().forward(tokens if context is None else tokens + context)


@pytest.mark.parametrize(
    ("network", "channels", "reason"),
    [
        (resnet18, 3, "no sequence of blocks that take tokens alone"),
        (swin, 3, "no sequence of blocks that take tokens alone"),
        (lambda: Net(nn.Sequential(Odd())), 1, "no sequence of blocks"),
        (lambda: Net(nn.ModuleList([Taking(), Taking()]), context=torch.ones(8)), 1, "no sequence of blocks"),
        (
            lambda: Net(nn.Sequential(Odd(scores=True), Odd(scores=True))),
            1,
            "a block \\(Odd\\) has no attention .* F.scaled_dot",
        ),
        (lambda: Net(nn.Sequential(Odd(gate=True), Odd(gate=True))), 1, "a block \\(Odd\\) does more than"),
        (lambda: Net(nn.Sequential(Odd(), Odd()), 2, in_front=False), 1, "one for each patch"),
        (lambda: Net(nn.Sequential(*(nn.Sequential(nn.Linear(8, 8)) for _ in range(2)))), 1, "two chains of modules"),
    ],
)
def test_what_is_none_is_refused_with_its_reason(network, channels, reason):
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=reason) as refusal:
        find_token_blocks(network(), torch.zeros(2, channels, 32, 32))
    assert "\n" not in str(refusal.value)
