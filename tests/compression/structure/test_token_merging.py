"""Which tokens merge, into what, and how many: Token Merging's own maths."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from effbench.compression.structure.token_merging import (
    MILLION,
    matching_macs,
    merge_tokens,
    most_merged,
    schedule,
)


@given(st.integers(1, 300), st.integers(1, MILLION), st.integers(1, 14))
def test_tokens_never_grow_in_number_and_no_block_merges_more_than_half(n, share, n_blocks):
    counts = schedule(n, share, n_blocks)
    assert len(counts) == n_blocks
    for before, after in zip([n, *counts], counts, strict=False):
        assert most_merged(before) <= after <= before
    assert counts[-1] >= 1
    if n_blocks > 1:
        assert counts[-1] == counts[-2]
        wanted = max(1, (2 * n * share + MILLION) // (2 * MILLION))
        reachable = n
        for _ in range(n_blocks - 1):
            reachable = most_merged(reachable)
        assert counts[-1] == max(wanted, reachable)


@pytest.mark.parametrize(
    ("n", "share", "n_blocks", "counts"),
    [
        (196, MILLION, 12, [196] * 12),
        (16, 500_000, 5, [14, 12, 10, 8, 8]),
        (16, 250_000, 3, [8, 4, 4]),  # on the line the first would leave 10, and the second could leave 5
        (16, 100_000, 2, [8, 8]),
        (9, 500_000, 1, [9]),
    ],
)
def test_the_schedule_is_a_line_to_the_share(n, share, n_blocks, counts):
    assert schedule(n, share, n_blocks) == counts


def test_nothing_merged_is_the_identity_to_the_bit():
    tokens, keys, sizes = torch.randn(2, 9, 6), torch.randn(2, 3, 9, 4), torch.ones(2, 9, 1)
    merged, after = merge_tokens(tokens, sizes, keys, n_merged=0, n_special=9)
    assert torch.equal(merged, tokens)
    assert torch.equal(after, sizes)


def test_pairs_become_their_mean_by_size_and_special_tokens_stay():
    keys = torch.tensor([[9.0, 9], [1, 0], [1, 0.01], [0, 1], [-1, 0.2]]).reshape(1, 1, 5, 2)
    tokens = torch.arange(5.0).reshape(1, 5, 1)
    sizes = torch.tensor([1.0, 3, 1, 1, 1]).reshape(1, 5, 1)
    # Of patches 1, 2, 3, 4 the sets are {2, 4} and {1, 3}: 2 is most like 1.
    merged, after = merge_tokens(tokens, sizes, keys, n_merged=1, n_special=1)
    assert merged.flatten().tolist() == [0, 4, (3 * 1 + 1 * 2) / 4, 3]
    assert after.flatten().tolist() == [1, 1, 4, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_sizes_and_weighted_sums_are_kept(dtype):
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(3, 21, 8, generator=generator).to(dtype)
    keys, sizes = torch.randn(3, 2, 21, 4, generator=generator).to(dtype), torch.ones(3, 21, 1)
    for n_merged in (3, 8, 4):
        before = (tokens.double() * sizes).sum(1)
        tokens, sizes = merge_tokens(tokens, sizes, keys[:, :, : tokens.shape[1]], n_merged=n_merged, n_special=1)
        assert tokens.dtype == dtype
        torch.testing.assert_close(
            (tokens.double() * sizes).sum(1), before, atol=0.3 if dtype.itemsize < 4 else 1e-5, rtol=0
        )
    assert (sizes.sum(1) == 21).all()
    assert sizes.dtype == torch.float32


def test_the_gradient_goes_through_the_mean_and_not_through_the_choice():
    tokens, keys = torch.randn(1, 6, 2, requires_grad=True), torch.randn(1, 1, 6, 2, requires_grad=True)
    merged, _ = merge_tokens(tokens, torch.ones(1, 6, 1), keys, n_merged=2, n_special=0)
    merged.sum().backward()
    assert keys.grad is None
    assert torch.isfinite(tokens.grad).all()
    assert (tokens.grad > 0).all()


@pytest.mark.parametrize("zero", [True, False])
def test_keys_without_a_direction_merge_too(zero):
    keys = torch.zeros(2, 1, 8, 4) if zero else torch.ones(2, 1, 8, 4)
    merged, _ = merge_tokens(torch.randn(2, 8, 3), torch.ones(2, 8, 1), keys, n_merged=4, n_special=0)
    assert merged.shape == (2, 4, 3)
    assert merged.isfinite().all()


def test_attention_to_merged_duplicates_is_that_to_all_only_with_the_logarithm_of_sizes():
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(1, 2, 5, 4, generator=generator)
    keys, values = one.repeat_interleave(2, dim=2), torch.randn(1, 2, 5, 4, generator=generator).repeat_interleave(2, 2)
    queries = torch.randn(1, 2, 3, 4, generator=generator)
    tokens = torch.cat([keys, values], -1)[:, 0]
    merged, sizes = merge_tokens(tokens, torch.ones(1, 10, 1), keys[:, :1], n_merged=5, n_special=0)
    torch.testing.assert_close(merged, tokens[:, ::2])
    assert (sizes == 2).all()
    uneven = torch.tensor([0, 0, 0, 1, 2, 3, 4])  # one stands for three patches, the others for one
    all_of_them = F.scaled_dot_product_attention(queries, one[:, :, uneven], values[:, :, ::2][:, :, uneven])
    bias = torch.tensor([[3.0, 1, 1, 1, 1]]).log()
    merged_attention = F.scaled_dot_product_attention(queries, one, values[:, :, ::2], attn_mask=bias)
    torch.testing.assert_close(merged_attention, all_of_them)
    without = F.scaled_dot_product_attention(queries, one, values[:, :, ::2])
    assert not torch.allclose(without, all_of_them, atol=1e-3)


def test_matching_is_counted_where_something_merges():
    assert matching_macs([12, 8, 8], 16, 4) == (8 * 8 + 6 * 6) * 4
    assert matching_macs([15, 15], 15, 4) == 0
    assert matching_macs([10, 10], 15, 4) == 7 * 8 * 4
