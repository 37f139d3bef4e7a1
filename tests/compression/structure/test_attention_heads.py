import pytest
import torch
from torch import nn
from torchvision.models.swin_transformer import ShiftedWindowAttention, ShiftedWindowAttentionV2

from effbench.compression.structure.attention_heads import (
    find_heads,
    has_lost_heads,
    keep_heads,
    looks_like_attention,
    n_heads,
    n_heads_made_with,
)
from effbench.compression.structure.factorized import build_factored
from effbench.models.attention import SelfAttention


class Apart(nn.Module):
    """As transformers': three layers, and no attribute for the width of all heads."""

    def __init__(self):
        super().__init__()
        self.num_attention_heads, self.all_head_size = 3, 12
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(12, 12) for _ in range(4))


KINDS = {
    "own": lambda: SelfAttention(12, 3),
    "torch": lambda: nn.MultiheadAttention(12, 3),
    "without_bias": lambda: nn.MultiheadAttention(12, 3, bias=False),
    "swin": lambda: ShiftedWindowAttention(12, [2, 2], [0, 0], 3),
    "swin_v2": lambda: ShiftedWindowAttentionV2(12, [2, 2], [0, 0], 3),
    "apart": Apart,
}


@pytest.fixture(params=KINDS)
def attention(request):
    return KINDS[request.param]()


def n_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_each_head_takes_its_share_of_the_parameters_with_it(attention):
    heads = find_heads(attention)
    assert (heads.n, heads.width) == (3, 4)
    own = sum(getattr(tensor.owner, tensor.name).numel() for tensor in heads.tensors)
    before = n_parameters(attention)
    assert own % 3 == 0
    keep_heads(heads, torch.tensor([0, 2]))
    assert n_parameters(attention) == before - own // 3
    assert (n_heads(attention), n_heads_made_with(attention), has_lost_heads(attention)) == (2, 3, True)
    keep_heads(find_heads(attention), torch.tensor([1]))
    assert n_parameters(attention) == before - 2 * own // 3
    assert (n_heads(attention), n_heads_made_with(attention)) == (1, 3)
    assert vars(attention).get("all_head_size", 4) == 4
    for layer in attention.modules():
        if isinstance(layer, nn.Linear):
            assert (layer.out_features, layer.in_features) == layer.weight.shape


def test_the_rows_and_columns_are_those_of_the_head():
    attention = SelfAttention(6, 3)
    qkv, projection = attention.qkv.weight.detach().clone(), attention.projection.weight.detach().clone()
    keep_heads(find_heads(attention), torch.tensor([2, 0]))
    assert torch.equal(attention.qkv.weight, qkv[[4, 5, 0, 1, 10, 11, 6, 7, 16, 17, 12, 13]])
    assert torch.equal(attention.projection.weight, projection[:, [4, 5, 0, 1]])


def test_parameters_that_are_not_trained_stay_so():
    attention = SelfAttention(6, 3).requires_grad_(False)
    keep_heads(find_heads(attention), torch.tensor([0]))
    assert not any(parameter.requires_grad for parameter in attention.parameters())


def test_chains_in_the_place_of_layers_lose_rows_and_columns_at_their_ends():
    attention = SelfAttention(6, 3)
    attention.qkv = build_factored(attention.qkv, "svd", (6, 2, 18))
    attention.projection = build_factored(attention.projection, "svd", (6, 2, 6))
    keep_heads(find_heads(attention), torch.tensor([1]))
    assert (attention.qkv.widths, attention.projection.widths) == ((6, 2, 6), (2, 2, 6))
    assert attention(torch.zeros(1, 4, 6)).shape == (1, 4, 6)


class Grouped(Apart):
    """Fewer heads of keys and values than of queries."""

    def __init__(self):
        super().__init__()
        self.k_proj, self.v_proj = nn.Linear(12, 4), nn.Linear(12, 4)


class Pooling(nn.Module):
    def __init__(self):
        super().__init__()
        self.num_heads = 4


def test_what_is_no_attention_of_a_known_form_has_none():
    for module in (
        nn.Linear(2, 2),
        Pooling(),
        Grouped(),
        nn.MultiheadAttention(12, 3, kdim=4),
        nn.MultiheadAttention(12, 3, add_bias_kv=True),
        nn.MultiheadAttention(12, 3, add_zero_attn=True),
    ):
        assert find_heads(module) is None
    assert looks_like_attention(nn.MultiheadAttention(12, 3, kdim=4))
    assert not looks_like_attention(Pooling())
