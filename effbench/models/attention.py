"""Self-attention of two linear layers, which every technique that acts on linear layers finds."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, arXiv:1706.03762, section 3.2). (N, tokens, n_features).

    `qkv` makes queries, keys and values of all heads, in this order, head by head; `projection` mixes what the heads
    give. `nn.MultiheadAttention` holds the same weights as bare parameters and calls no layers: inputs of its
    projection are seen by nothing that watches layers, and low rank and low widths of inputs can't act there.
    """

    def __init__(self, n_features: int, heads: int) -> None:
        super().__init__()
        self.num_heads = heads
        self.head_dim = n_features // heads
        self.qkv = nn.Linear(n_features, 3 * n_features)
        self.projection = nn.Linear(n_features, n_features)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return what each token takes from all, (N, tokens, n_features)."""
        # (N, tokens, 3 × heads × head_dim) to three of (N, heads, tokens, head_dim)
        shape = (*tokens.shape[:2], 3, self.num_heads, self.head_dim)
        queries, keys, values = self.qkv(tokens).reshape(shape).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(queries, keys, values)
        projected: Tensor = self.projection(mixed.transpose(1, 2).flatten(2))
        return projected
