"""Fewer tokens are computed: counts are exact, quality follows, and what has no tokens is refused before training."""

import dataclasses

import pytest
import torch
from torch import nn

from effbench.codec import decode, encode
from effbench.compression.structure.token_merging import MILLION, matching_macs, schedule
from effbench.measure.compute import count_cost
from effbench.models import small_vit
from effbench.plan.chain import Step
from effbench.stages.merge_tokens import MergeTokens
from effbench.stages.prune import Prune
from effbench.stages.prune_channels import PruneChannels
from effbench.stages.quantize import Quantize

DEPTH, HEADS, WIDTH = 4, 2, 16


def transformer(seed=0, depth=DEPTH):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return small_vit(
            patch=2, depth=depth, heads=HEADS, width=WIDTH, mlp_ratio=2.0, num_classes=4, input_side=8
        ).eval()


def expected_macs(share, n=16, width=WIDTH, hidden=2 * WIDTH):
    """Multiply-adds of the blocks: projections and products of attention, perceptron, matching."""
    counts = schedule(n, round(share * MILLION), DEPTH)
    total, before = 0, n
    for after in counts:
        total += 4 * before * width**2 + 2 * before**2 * width + 2 * after * width * hidden
        before = after
    return total + matching_macs(counts, n, width // HEADS)


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("share", [0.75, 0.5, 0.25, 0.31])
def test_multiply_adds_fall_as_the_formula_says(share, toy_data, make_context):
    model, context = transformer(), make_context(toy_data)
    merged = MergeTokens(tokens=share).apply(model, context)
    whole, cost = count_cost(model, (1, 8, 8)), count_cost(merged, (1, 8, 8))
    assert whole.macs - cost.macs == expected_macs(1) - expected_macs(share)
    assert cost.params == whole.params
    assert not cost.unknown
    assert context.findings.words["patches/stage"] == ", ".join(map(str, [16, *schedule(16, round(share * 1e6), 4)]))


def test_a_share_of_one_changes_no_bit(toy_data, make_context):
    model, images = transformer(), make_context(toy_data).example()
    same = MergeTokens(tokens=1).apply(model, make_context(toy_data))
    assert torch.equal(same(images), model(images))
    assert encode(same) == encode(model)


def test_the_share_is_that_of_any_size_of_image(toy_data, make_context):
    merged = MergeTokens(tokens=0.5).apply(transformer(), make_context(toy_data))
    seen = []
    merged.norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    for side in (8, 16, 12):
        merged(torch.zeros(1, 1, side, side))
    assert seen == [8, 32, 18]


def test_rounds_reach_the_share_and_leave_no_trace_of_those_before(toy_data, make_context):
    context, stage, model = make_context(toy_data), MergeTokens(tokens=0.5, proportional=False), transformer()
    shares = [stage.at_round(position, 3).tokens for position in (1, 2, 3)]
    assert shares == [stage.value_after(position, 3) for position in (1, 2, 3)]
    assert shares[-1] == 0.5 and shares[0] > shares[1]
    at_once = stage.apply(model, context)
    for position in (1, 2, 3):
        model = stage.at_round(position, 3).apply(model, context)
    assert encode(model) == encode(at_once)


@pytest.mark.extended
@pytest.mark.parametrize("first", [True, False])
def test_it_composes_with_what_prunes_and_quantises(first, toy_data, make_context):
    context, tokens = make_context(toy_data), MergeTokens(tokens=0.5)
    others = [PruneChannels(ratio=0.5), Prune(ratio=0.5), Quantize(bits=4)]
    model = transformer()
    for stage in [tokens, *others] if first else [*others, tokens]:
        model = stage.apply(model, context).eval()
    images = next(toy_data.batches("val", side=8, batch_size=8))[0]
    assert torch.equal(decode(encode(model), transformer(seed=1))(images), model(images))
    # MLP units go as they do without merging.
    assert count_cost(model, (1, 8, 8)).params < 0.8 * count_cost(transformer(), (1, 8, 8)).params


def test_training_goes_on_with_merged_tokens(toy_data, make_context):
    merged = MergeTokens(tokens=0.25).apply(transformer(), make_context(toy_data)).train()
    merged(make_context(toy_data).example()).square().sum().backward()
    assert all(parameter.grad is not None for parameter in merged.parameters())


def test_what_it_can_not_do_is_said_with_the_least_share(toy_data, make_context, toy_network):
    context = make_context(toy_data)
    with pytest.raises(ValueError, match=r"its 4 blocks can leave no fewer than 2 of its 16 patches"):
        MergeTokens(tokens=0.05).apply(transformer(), context)
    with pytest.raises(ValueError, match="Sequential can't merge tokens: it has no sequence of blocks"):
        MergeTokens(tokens=0.5).for_network(toy_network(), context.example())
    MergeTokens(tokens=1).for_network(toy_network(), context.example())


class TakesAll(nn.Module):
    """A classifier that reads every token at its place."""

    def __init__(self):
        super().__init__()
        model = transformer()
        self.stem, self.blocks, self.head = model.stem, model.blocks, nn.Linear(16 * WIDTH, 4)

    def forward(self, images):
        return self.head(self.blocks(self.stem(images).flatten(2).transpose(1, 2)).flatten(1))


def test_a_network_that_needs_all_its_tokens_is_refused(toy_data, make_context):
    with pytest.raises(ValueError, match="TakesAll can't merge tokens: it does not run with fewer of them"):
        MergeTokens(tokens=0.5).apply(TakesAll(), make_context(toy_data))


@pytest.mark.parametrize("value", [0, 1.5, -1])
def test_wrong_values_are_named(value):
    with pytest.raises(ValueError, match=r"tokens=.*: must be a number in \(0, 1\]"):
        MergeTokens(tokens=value)


def test_it_is_known_by_its_fields():
    stage = MergeTokens(tokens=0.5)
    assert (
        Step("merge_tokens", stage).identity()
        != Step("merge_tokens", dataclasses.replace(stage, tokens=0.4)).identity()
    )
    assert stage.identity()["fields"] == {"tokens": 0.5}


class Loops(nn.Module):
    """A transformer whose forward pass calls its blocks one by one, in a way of its own."""

    def __init__(self, way, container):
        super().__init__()
        self.way, self.inner = way, transformer()
        self.inner.blocks = (
            container(*self.inner.blocks) if container is nn.Sequential else container(self.inner.blocks)
        )

    def forward(self, images):
        net = self.inner
        maps = net.stem(images)
        tokens = maps.flatten(2).transpose(1, 2) + net.position_table
        for block in self.way(net.blocks):
            tokens = block(tokens)
        return net.classifier(net.norm(tokens).mean(1))


WAYS = {
    "iterated": iter,
    "indexed": lambda blocks: (blocks[number] for number in range(len(blocks))),
    "sliced": lambda blocks: blocks[:],
    "children": lambda blocks: blocks.children(),
}


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("container", [nn.Sequential, nn.ModuleList])
@pytest.mark.parametrize("way", WAYS)
def test_blocks_that_are_called_one_by_one_are_merged_or_it_is_refused(way, container, toy_data, make_context):
    network, context = Loops(WAYS[way], container).eval(), make_context(toy_data)
    if way == "iterated":
        merged = MergeTokens(tokens=0.5).apply(network, context)
        assert count_cost(merged, (1, 8, 8)).macs < count_cost(network, (1, 8, 8)).macs
        restored = decode(encode(merged), Loops(WAYS[way], container).eval())
        assert torch.equal(restored(context.example()), merged(context.example()))
        return
    with pytest.raises(ValueError, match=r"^Loops can't merge tokens: "):
        MergeTokens(tokens=0.5).apply(network, context)
