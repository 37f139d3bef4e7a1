"""Torch's and torchvision's attention, by the forwards that call their layers: the same outputs, and gradients."""

import copy
import math

import pytest
import torch
from torch import nn
from torchvision.models.swin_transformer import ShiftedWindowAttention, ShiftedWindowAttentionV2

from effbench.compression.structure.attention_forwards import call_layers


def moved(module):
    """Return a module none of whose parameters is zero or one: what is left out would not show."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return module


def called(module):
    other = copy.deepcopy(module)
    call_layers(other)
    return other


def torchs(**options):
    return moved(nn.MultiheadAttention(12, 3, **options)).eval()


def tokens(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


MASK = torch.ones(5, 5, dtype=torch.bool).triu(1)
PADDING = torch.tensor([[False] * 5, [False, False, False, True, True]])
OPTIONS = [
    {},
    {"need_weights": False},
    {"average_attn_weights": False},
    {"attn_mask": MASK},
    {"attn_mask": MASK, "need_weights": False, "is_causal": True},
    {"attn_mask": torch.zeros(5, 5).masked_fill(MASK, -math.inf), "need_weights": False},
    {"key_padding_mask": PADDING},
    {"key_padding_mask": PADDING, "need_weights": False},
    {"key_padding_mask": PADDING.float(), "attn_mask": torch.rand(6, 5, 5)},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "plain")
@pytest.mark.parametrize("batch_first", [True, False])
def test_torchs_attention_with_its_options(options, batch_first):
    attention, given = torchs(batch_first=batch_first), tokens(2, 5, 12)
    given = given if batch_first else given.transpose(0, 1)
    with torch.no_grad():
        expected, outcome = attention(given, given, given, **options), called(attention)(given, given, given, **options)
    for one, other in zip(expected, outcome, strict=True):
        assert (one is None) == (other is None)
        assert one is None or (one.shape == other.shape and torch.allclose(one, other, atol=1e-6))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_torchs_attention_between_others_and_without_a_batch(bias, batch_first):
    attention = torchs(bias=bias, batch_first=batch_first)
    query, key, value = tokens(2, 2, 12), tokens(2, 2, 12) + 1, tokens(2, 2, 12) - 1
    with torch.no_grad():
        for tensors in ((query, key, key), (query, key, value), (query[0], key[0], key[0])):
            expected, outcome = attention(*tensors), called(attention)(*tensors)
            assert all(torch.allclose(*pair, atol=1e-6) for pair in zip(expected, outcome, strict=True))


def test_training_drops_and_gives_gradients():
    attention = called(torchs(dropout=0.5, batch_first=True)).train()
    given = tokens(2, 5, 12).requires_grad_()
    for need_weights in True, False:
        one, other = (attention(given, given, given, need_weights=need_weights)[0] for _ in range(2))
        assert not torch.equal(one, other)
        one.sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in attention.parameters())


@pytest.mark.parametrize("kind", [ShiftedWindowAttention, ShiftedWindowAttentionV2])
@pytest.mark.parametrize("shift", [(0, 0), (1, 2), (2, 0)])
@pytest.mark.parametrize("sides", [(8, 8), (7, 10), (4, 9), (3, 2)])
def test_shifted_windows(kind, shift, sides):
    attention = moved(kind(12, [4, 4], list(shift), 3)).eval()
    images = tokens(2, *sides, 12)
    with torch.no_grad():
        assert torch.allclose(called(attention)(images), attention(images), atol=1e-5)


def test_encoder_layers_of_torch_call_it_in_evaluation_mode_too():
    layer = nn.TransformerEncoderLayer(12, 4, 16, batch_first=True).eval()
    other, seen = copy.deepcopy(layer), []
    call_layers(other.self_attn)
    other.self_attn.out_proj.register_forward_hook(lambda *_: seen.append(1))
    with torch.no_grad():
        assert torch.allclose(layer(tokens(2, 5, 12)), other(tokens(2, 5, 12)), atol=1e-6)
    assert seen == [1]


def test_others_stay_as_they_are():
    class Own(nn.MultiheadAttention):
        pass

    for module in Own(12, 3), nn.Linear(2, 2):
        kind = type(module)
        call_layers(module)
        assert type(module) is kind
    twice = called(called(torchs()))
    assert type(twice).__mro__.count(nn.MultiheadAttention) == 1
