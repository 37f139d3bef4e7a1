"""What is attention's: two products behind each other, whoever computes them, and what projects for them."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from effbench.measure.attention import Attention
from effbench.measure.layer_profile import profile_layers

WIDTH, TOKENS, HEADS = 8, 5, 2


class Base(nn.Module):
    """Attention between linear layers of a block, with the scores from `attend`."""

    def __init__(self):
        super().__init__()
        self.qkv, self.proj, self.mlp = (nn.Linear(WIDTH, n) for n in (3 * WIDTH, WIDTH, WIDTH))
        self.norm = nn.LayerNorm(WIDTH)
        self.mix = nn.Linear(HEADS, HEADS)

    def forward(self, x):
        q, k, v = self.qkv(self.norm(x)).reshape(-1, TOKENS, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        mixed = self.attend(q, k, v).transpose(1, 2).reshape(-1, TOKENS, WIDTH)
        x = x + self.proj(mixed)
        return x + self.mlp(self.norm(x))


class Fused(Base):
    def attend(self, q, k, v):
        return functional.scaled_dot_product_attention(q, k, v)


class ByHand(Base):
    def attend(self, q, k, v):
        return (q * 0.5 @ k.transpose(-2, -1)).softmax(-1) @ v


class Masked(Base):
    """The mask is made from a tensor of the stream, of which it has the type alone."""

    def attend(self, q, k, v):
        mask = v.new_zeros(TOKENS, TOKENS) + torch.zeros_like(v[0, 0, :, :1])
        return (q @ k.transpose(-2, -1) + mask).softmax(-1) @ v


class Linear(Base):
    """Without a softmax: values come first (arXiv:2006.16236)."""

    def attend(self, q, k, v):
        return q.relu() @ (k.relu().transpose(-2, -1) @ v)


class TalkingHeads(Base):
    """A layer mixes the scores of heads (arXiv:2003.02436)."""

    def attend(self, q, k, v):
        scores = self.mix((q @ k.transpose(-2, -1)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return scores.softmax(-1) @ v


def groups(model, size=(TOKENS, WIDTH)):
    layers = profile_layers(model, size)
    return {(row["layer"], row["form"]): row["group"] for _, row in layers[layers["macs"] > 0].iterrows()}


@pytest.mark.parametrize("kind", [Fused, ByHand, Masked, Linear, TalkingHeads])
def test_projections_and_products_are_attentions_and_the_rest_is_not(kind):
    found = groups(kind())
    mixing = {("mix", "projection"): "attention"} if kind is TalkingHeads else {}
    assert found == {
        ("qkv", "projection"): "attention",
        ("", "products"): "attention",
        ("proj", "projection"): "attention",
        ("mlp", "linear"): "fully connected",
        **mixing,
    }


def test_attention_of_torch():
    found = groups(nn.TransformerEncoderLayer(WIDTH, HEADS, 16, batch_first=True))
    assert found == {
        ("self_attn", "projection"): "attention",
        ("self_attn", "products"): "attention",
        ("self_attn.out_proj", "projection"): "attention",
        ("linear1", "linear"): "fully connected",
        ("linear2", "linear"): "fully connected",
    }


def test_products_are_counted_by_their_formula():
    layers = profile_layers(Fused(), (TOKENS, WIDTH))
    (products,) = layers[layers["form"] == "products"].to_dict("records")
    assert products["macs"] == products["macs_effective"] == 2 * TOKENS * TOKENS * WIDTH
    assert products["activations"] == HEADS * TOKENS * TOKENS + TOKENS * WIDTH
    assert products["params"] == products["weights"] == 0


class OneProduct(nn.Module):
    """Bilinear pooling (arXiv:1504.07889): one product of what two layers give, and no attention."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.head = nn.Linear(WIDTH, 3), nn.Linear(WIDTH, 4), nn.Linear(12, 2)

    def forward(self, x):
        return self.head((self.left(x).transpose(1, 2) @ self.right(x)).flatten(1))


def test_one_product_alone_is_none():
    found = groups(OneProduct())
    assert set(found.values()) == {"fully connected", "other"}
    layers = profile_layers(OneProduct(), (TOKENS, WIDTH)).set_index("layer")
    assert (layers.at["", "macs"], layers.at["", "activations"]) == (3 * 4 * TOKENS, 12)


def test_a_product_with_a_constant_is_none():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("basis", torch.ones(WIDTH, WIDTH))

        def forward(self, x):
            return x @ self.basis @ self.basis

    assert set(groups(Fixed()).values()) == {"other"}


def test_convolutions_that_project_stay_convolutions():
    class ByConvolution(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.proj = nn.Conv2d(4, 12, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x):
            q, k, v = self.qkv(x).flatten(2).chunk(3, 1)
            return self.proj(((q @ k.transpose(1, 2)).softmax(-1) @ v).unflatten(2, x.shape[2:]))

    found = groups(ByConvolution(), (4, 3, 3))
    assert found == {
        ("qkv", "1×1"): "convolution",
        ("", "products"): "attention",
        ("proj", "1×1"): "convolution",
    }


def test_two_products_behind_each_other():
    q, k, v, scores, out = (torch.empty(2, 2, device="meta") for _ in range(5))
    attention = Attention(q)
    attention.follow_weight("keys", [q], [k])
    attention.follow_weight("values", [q], [v])
    first = attention.follow_product([q, k], [scores])
    assert not attention.has(first) and not attention.projections
    second = attention.follow_product([scores, v], [out])
    assert attention.has(first) and attention.has(second) and not attention.has(None)
    assert attention.projections == {"keys", "values"}
