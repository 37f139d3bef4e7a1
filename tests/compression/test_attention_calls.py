"""Attention is seen whoever calls it, and computes what it would."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effbench.compression.attention_calls import AttentionCalls


class Noting(AttentionCalls):
    def __init__(self):
        super().__init__()
        self.seen = []

    def attend(self, function, arguments):
        self.seen.append(arguments)
        return function(**arguments)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("needs_gradient", [True, False])
def test_multihead_attention_is_seen_in_every_mode_and_gives_the_same_bits(training, batch_first, needs_gradient):
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, batch_first=batch_first).train(training)
    tokens = torch.randn(3, 5, 8)
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.set_grad_enabled(needs_gradient):
            expected = layer(tokens, tokens, tokens, need_weights=False)[0]
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
    with torch.set_grad_enabled(needs_gradient), Noting() as noting:
        seen = layer(tokens, tokens, tokens, need_weights=False)[0]
    assert torch.equal(seen, expected)
    assert len(noting.seen) == 1
    shape = (3, 2, 5, 4) if batch_first else (5, 2, 3, 4)
    assert noting.seen[0]["key"].shape == shape


def test_arguments_have_their_names_however_they_are_given():
    query, key, value = torch.randn(3, 1, 2, 4, 4)
    with Noting() as noting:
        F.scaled_dot_product_attention(query, key, value, None, 0.0, True)
        F.scaled_dot_product_attention(query, key=key, value=value, scale=2.0)
    first, second = noting.seen
    assert first["is_causal"] is True and first["value"] is value
    assert second["scale"] == 2.0 and second["query"] is query


def test_nothing_is_left_of_it_after_an_error():
    with pytest.raises(RuntimeError), Noting():
        F.scaled_dot_product_attention(torch.zeros(2, 3), torch.zeros(4, 5), torch.zeros(2, 3))
    noting = Noting()
    F.scaled_dot_product_attention(*torch.randn(3, 1, 2, 4, 4))
    assert noting.seen == []
