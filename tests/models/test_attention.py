import torch
from torch import nn

from effbench.models.attention import SelfAttention


def test_it_is_torchs_attention_with_two_linear_layers():
    attention, torchs = SelfAttention(12, 3).eval(), nn.MultiheadAttention(12, 3, batch_first=True).eval()
    with torch.no_grad():
        torchs.in_proj_weight.copy_(attention.qkv.weight)
        torchs.in_proj_bias.copy_(attention.qkv.bias)
        torchs.out_proj.weight.copy_(attention.projection.weight)
        torchs.out_proj.bias.copy_(attention.projection.bias)
        tokens = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(0))
        expected, _ = torchs(tokens, tokens, tokens, need_weights=False)
        assert torch.allclose(attention(tokens), expected, atol=1e-6)


def test_other_widths_than_that_of_the_tokens_are_read_from_its_attributes():
    attention = SelfAttention(12, 3)
    attention.num_heads = 2
    attention.qkv, attention.projection = nn.Linear(12, 3 * 8), nn.Linear(8, 12)
    assert attention(torch.zeros(2, 5, 12)).shape == (2, 5, 12)
