"""Operands of products are found and exchanged in whatever form a module multiplies them."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformer, SwinTransformerBlockV2

from effbench.compression.attention_calls import AttentionCalls
from effbench.compression.constraints.activation_products import (
    Products,
    modules_that_multiply,
    multiply_otherwise,
    run_plainly,
)
from effbench.compression.structure.watch import fast_paths_off

QUERY, KEY, VALUE = torch.randn(3, 2, 2, 5, 4, generator=torch.Generator().manual_seed(0))
BY_HAND = {
    "matmul": lambda: torch.matmul(QUERY, KEY.transpose(-2, -1)),
    "method": lambda: QUERY.matmul(KEY.transpose(-2, -1)),
    "operator": lambda: QUERY @ KEY.transpose(-2, -1),
    "bmm": lambda: torch.bmm(QUERY[0], KEY[0].transpose(-2, -1)),
    "method bmm": lambda: QUERY[0].bmm(KEY[0].transpose(-2, -1)),
    "baddbmm": lambda: torch.baddbmm(torch.ones(2, 5, 5), QUERY[0], KEY[0].transpose(-2, -1)),
    "einsum": lambda: torch.einsum("bhqd,bhkd->bhqk", QUERY, KEY),
}


@pytest.mark.parametrize("form", BY_HAND)
def test_every_form_of_a_product_has_two_operands(form):
    seen = []
    with Products(lambda number, values: seen.append((number, values.shape[-3:])) or values):
        outcome = BY_HAND[form]()
    assert torch.equal(outcome, BY_HAND[form]())
    assert [number for number, _ in seen] == [0, 1]
    with Products(lambda number, values: torch.zeros_like(values)):
        assert len(BY_HAND[form]().unique()) == 1


@pytest.mark.parametrize("form", ["x @ w", "linear", "mul"])
def test_products_with_weights_and_other_operations_are_none(form):
    tokens, weight = torch.randn(2, 5, 4), torch.randn(4, 4)
    with Products(lambda number, values: pytest.fail("nothing is multiplied with its like")):
        {"x @ w": lambda: tokens @ weight, "linear": lambda: F.linear(tokens, weight), "mul": lambda: tokens * tokens}[
            form
        ]()


CASES = {
    "plain": {},
    "scaled": {"scale": 0.3},
    "causal": {"is_causal": True},
    "bias": {"attn_mask": torch.randn(5, 5, generator=torch.Generator().manual_seed(1))},
    "mask": {"attn_mask": torch.ones(5, 5, dtype=torch.bool).tril(1)},
    "fewer keys": {"enable_gqa": True},
}


@pytest.mark.parametrize("case", CASES)
def test_attention_in_steps_is_attention(case):
    options = CASES[case]
    query = QUERY.repeat_interleave(2, 1) if case == "fewer keys" else QUERY
    numbers = []
    with Products(lambda number, values: numbers.append(number) or values):
        steps = F.scaled_dot_product_attention(query, KEY, VALUE, **options)
    torch.testing.assert_close(steps, F.scaled_dot_product_attention(query, KEY, VALUE, **options))
    assert numbers == [0, 1, 2, 3]


def test_shares_are_rounded_before_they_are_dropped():
    with Products(lambda number, values: torch.ones_like(values) if number == 2 else values):
        torch.manual_seed(0)
        dropped = F.scaled_dot_product_attention(QUERY, KEY, torch.ones_like(VALUE), None, 0.5)
    assert set(dropped.unique().tolist()) <= {0.0, 2.0, 4.0, 6.0, 8.0, 10.0}


class Noting(AttentionCalls):
    def attend(self, function, arguments):
        self.keys = arguments["key"]
        return function(**{**arguments, "attn_mask": torch.tensor([0.0, 0, 0, 0, -torch.inf])})


def test_who_watches_attention_from_outside_still_sees_it():
    noting = Noting()
    with noting, Products(lambda number, values: values):
        outcome = F.scaled_dot_product_attention(QUERY, KEY, VALUE)
    assert noting.keys is KEY
    torch.testing.assert_close(outcome, F.scaled_dot_product_attention(QUERY, KEY[:, :, :4], VALUE[:, :, :4]))


def swin(**options):
    return SwinTransformer([2, 2], 8, [1, 1], [2, 2], [4, 4], num_classes=4, **options)


class Heads(nn.MultiheadAttention):
    def forward(self, images):
        tokens = images.flatten(2).transpose(1, 2)[..., :3].repeat(1, 1, 4)
        return super().forward(tokens, tokens, tokens, need_weights=self.dropout == 0)[0]


def encoder():
    layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 8, batch_first=True), 1)
    return nn.Sequential(nn.Flatten(2), layers)


NETWORKS = {
    "swin": (swin, ["features.1.0.attn", "features.3.0.attn"]),
    "swin v2": (
        lambda: swin(block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2),
        ["features.1.0.attn", "features.3.0.attn"],
    ),
    "multihead": (lambda: nn.Sequential(Heads(12, 2, batch_first=True, dropout=0.1)), ["0"]),
    "multihead with weights": (lambda: nn.Sequential(Heads(12, 2, batch_first=True)), ["0"]),
    "encoder with a fast path": (encoder, ["1.layers.0.self_attn"]),
    "none": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2)), []),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_modules_that_multiply_are_found_and_can_be_made_to_multiply_something_else(name):
    make, expected = NETWORKS[name]
    torch.manual_seed(0)
    network = make().train()
    images = torch.randn(2, 3, 4, 4) if name != "swin" and name != "swin v2" else torch.randn(2, 3, 16, 16)
    assert modules_that_multiply(network, images) == expected
    assert network.training
    network.eval()
    with fast_paths_off():
        plain = network(images)
        for path in expected:
            multiply_otherwise(network.get_submodule(path), lambda number, values: values)
            multiply_otherwise(network.get_submodule(path), lambda number, values: values)  # in the place of that
        torch.testing.assert_close(network(images), plain)
        double = copy.deepcopy(network)
        for path in expected:
            forward = vars(double.get_submodule(path))["forward"]
            assert forward.module is double.get_submodule(path)
            forward.operand = lambda number, values: values * 0
            run_plainly(network.get_submodule(path))
            assert "forward" not in vars(network.get_submodule(path))
        assert torch.equal(network(images), plain)
    assert expected == [] or not torch.allclose(double(images), plain)


def test_a_forward_pass_of_its_own_comes_back():
    network = nn.Sequential(nn.Identity())
    own = lambda tokens: tokens @ tokens.transpose(1, 2)  # noqa: E731
    network[0].forward = own
    multiply_otherwise(network[0], lambda number, values: values * 2)
    tokens = torch.randn(2, 3, 4)
    torch.testing.assert_close(network(tokens), 4 * own(tokens))
    run_plainly(network[0])
    assert network[0].forward is own
