"""Tokens merged with those most like them: Token Merging (Bolya et al. 2022, arXiv:2210.09461, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

MILLION = 1_000_000


def schedule(n_patches: int, share: int, n_blocks: int, /) -> list[int]:
    """Return how many patch tokens each of `n_blocks` blocks leaves: on a line from all of them to the share.

    share: in millionths, of the tokens that reach the last block. Block i of n leaves floor(n_patches × (1 - (1 -
    share) × i / (n - 1)) + ½), the last one what reaches it. A block can merge half of its tokens at most: where the
    line is steeper than that at its end, the blocks before merge more; where all of them at their most are not enough,
    fewer go.

    >>> schedule(16, 500_000, 3), schedule(16, 250_000, 3)
    ([12, 8, 8], [8, 4, 4])
    """
    if n_blocks < 2:
        return [n_patches] * n_blocks
    whole = MILLION * (n_blocks - 1)
    steps = [(2 * n_patches * (whole - (MILLION - share) * step) + whole) // (2 * whole) for step in range(1, n_blocks)]
    for step in range(n_blocks - 3, -1, -1):
        steps[step] = min(steps[step], 2 * steps[step + 1])
    left, counts = n_patches, []
    for wanted in steps:
        left = max(wanted, most_merged(left), 1)
        counts.append(left)
    return [*counts, left]


def most_merged(n_patches: int, /) -> int:
    """Return how many of the patch tokens are left where as many are merged as one block can."""
    return n_patches - n_patches // 2


def matching_macs(counts: Sequence[int], n_patches: int, head_features: int, /) -> int:
    """Return the multiply-adds of finding what to merge: each of one half of the tokens against each of the other.

    counts: of `schedule`. A block that merges nothing looks for nothing.
    """
    return sum(
        (before // 2) * (before - before // 2) * head_features
        for before, after in pairwise([n_patches, *counts])
        if after < before
    )


def merge_tokens(
    tokens: Tensor, sizes: Tensor, keys: Tensor, /, *, n_merged: int, n_special: int
) -> tuple[Tensor, Tensor]:
    """Return the tokens and their sizes after the most alike have been merged.

    tokens: (N, T, C). sizes: (N, T, 1) float32, how many patches each stands for. keys: (N, heads, T, head features),
    of the attention that the tokens come from. The first `n_special` tokens (a class token) stay out of it. The others
    are dealt out in turn into two sets; each of the first finds the one of the second that is most like it, by the
    cosine of the angle between their keys (the mean over the heads), and the `n_merged` pairs that are most alike
    become one token each, their mean weighted by the sizes (section 3, "Bipartite Soft Matching"). Returns (N, T -
    n_merged, C) and the sizes: special tokens, what is left of the first set, then the second. No gradient goes through
    the choice.
    """
    if n_merged == 0:
        return tokens, sizes
    with torch.no_grad():
        features = keys.detach().float().mean(1)[:, n_special:]
        features = features / features.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        likeness, partner = (features[:, 1::2] @ features[:, ::2].transpose(1, 2)).max(-1)
        n_first = likeness.shape[-1]
        order = likeness.topk(n_first).indices  # ExecuTorch has no sort
        going, staying = order[:, :n_merged], order[:, n_merged:].topk(n_first - n_merged, largest=False).values
        to = partner.gather(1, going)
    wide = torch.promote_types(tokens.dtype, torch.float32)
    merged_sizes = _merged(sizes, going, staying, to, n_special)
    merged = _merged(tokens.to(wide) * sizes, going, staying, to, n_special) / merged_sizes
    return merged.to(tokens.dtype), merged_sizes


def _merged(values: Tensor, going: Tensor, staying: Tensor, to: Tensor, n_special: int) -> Tensor:
    """Return values, (N, T, C), with those of tokens that go added to those of their partners."""
    special, patches = values[:, :n_special], values[:, n_special:]
    first, second = patches[:, 1::2], patches[:, ::2]

    def at(places: Tensor) -> Tensor:
        return places.unsqueeze(-1).expand(-1, -1, values.shape[-1])

    second = second.scatter_add(1, at(to), first.gather(1, at(going)))
    return torch.cat([special, first.gather(1, at(staying)), second], dim=1)
