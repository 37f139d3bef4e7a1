import dataclasses

import pytest
import torch
from torch import nn

from effbench.codec import decode, encode
from effbench.compression.constraints.copies import copy_network
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.stack import register
from effbench.compression.layers import weights_of
from effbench.compression.structure.attention_heads import find_heads
from effbench.compression.structure.edits import Edit, EditKind, edits_of
from effbench.models import small_vit
from effbench.stages.low_rank import LowRank
from effbench.stages.merge_tokens import MergeTokens
from effbench.stages.prune_heads import PruneHeads


def make_vit(**options):
    torch.manual_seed(0)
    return small_vit(**{"patch": 2, "depth": 2, "heads": 4, "width": 16, "num_classes": 4, "input_side": 8, **options})


@pytest.fixture
def context(toy_data, make_context):
    return make_context(toy_data, step="prune_heads")


def left(network):
    return {path: edit.widths for path, edit in edits_of(network).items()}


@pytest.mark.parametrize("criterion", ["gradient", "norm", "random"])
@pytest.mark.parametrize(("ratio", "n_left"), [(0.1, 4), (0.25, 3), (0.3, 3), (0.5, 2), (0.6, 2), (0.75, 1), (0.99, 1)])
def test_each_layer_loses_the_nearest_share_and_keeps_one(context, criterion, ratio, n_left):
    network = make_vit()
    pruned = PruneHeads(ratio=ratio, criterion=criterion).apply(network, context)
    expected = {f"blocks.{number}.attention": (n_left,) for number in (0, 1)}
    assert left(pruned) == (expected if n_left < 4 else {})
    assert not edits_of(network)
    findings = context.findings
    assert findings.metrics["removed_share/prune_heads"] == pytest.approx(1 - n_left / 4)
    rows = findings.tables["removed_heads"]
    assert [row["left"] for row in rows] == [n_left] * len(rows)
    assert all(len(row["removed"].split()) == 4 - n_left for row in rows)
    assert 0 < findings.metrics["acted_share/prune_heads"] < 1


def test_it_says_on_which_share_of_the_weights_it_acts(context):
    network = make_vit()
    PruneHeads(ratio=0.5).apply(network, context)
    sizes = {weight.name: weight.value().numel() for weight in weights_of(network)}
    attention = sum(size for name, size in sizes.items() if ".attention." in name)
    everything = sum(sizes.values()) + network.position_table.numel()
    assert context.findings.metrics["acted_share/prune_heads"] == pytest.approx(attention / everything)


@pytest.mark.parametrize("criterion", ["gradient", "norm"])
def test_heads_that_do_nothing_go_first(context, criterion):
    network = make_vit()
    for number, head in enumerate((2, 0)):
        attention = network.blocks[number].attention
        with torch.no_grad():
            attention.projection.weight[:, 4 * head : 4 * head + 4] = 0
            if criterion == "norm":
                attention.qkv.weight.view(3, 4, 4, 16)[:, head] = 0
    pruned = PruneHeads(ratio=0.25, criterion=criterion).apply(network, context).eval()
    assert [row["removed"] for row in context.findings.tables["removed_heads"]] == ["2", "0"]
    images = context.example()
    with torch.no_grad():
        assert torch.allclose(pruned(images), network.eval()(images), atol=1e-5)


def test_random_is_drawn_anew_for_another_seed_and_is_the_same_for_the_same(toy_data, make_context):
    def removed(seed):
        context = dataclasses.replace(make_context(toy_data, step="prune_heads"), seed=seed)
        PruneHeads(ratio=0.5, criterion="random").apply(make_vit(depth=4), context)
        return context.findings.tables["removed_heads"]

    assert removed(0) == removed(0)
    assert len({str(removed(seed)) for seed in range(4)}) > 1


def test_rounds_count_from_the_heads_that_there_were(context):
    network = make_vit()
    stage = PruneHeads(ratio=0.75)
    n_left = []
    for position in (1, 2, 3):
        network = stage.at_round(position, 3).apply(network, context)
        network = decode(encode(network), make_vit())  # as the store keeps it
        n_left.append(find_heads(network.blocks[0].attention).n)
    assert n_left == [3, 2, 1]
    assert stage.at_round(3, 3).ratio == pytest.approx(0.75)
    assert stage.value_after(3, 3) == pytest.approx(0.75)
    # The same share once more is there already.
    again = stage.apply(network, context)
    assert left(again) == left(network)


def test_single_layers_have_shares_of_their_own(context):
    layers = {"blocks.0.*": "skip", "blocks.2.attention": 0.75}
    pruned = PruneHeads(ratio=0.25, layers=layers).apply(make_vit(depth=3), context)
    assert left(pruned) == {"blocks.1.attention": (3,), "blocks.2.attention": (1,)}
    with pytest.raises(ValueError, match=r"conv\* meets no layer of the network; there are blocks.0.attention"):
        PruneHeads(ratio=0.25, layers={"conv*": 0.5}).apply(make_vit(), context)


def test_nothing_is_removed_at_zero(context):
    network = make_vit()
    pruned = PruneHeads(ratio=0.0).apply(network, context)
    assert not edits_of(pruned)
    assert all(
        torch.equal(*pair) for pair in zip(pruned.state_dict().values(), network.state_dict().values(), strict=True)
    )


def test_masks_become_permanent(context):
    network = make_vit()
    masked = copy_network(network)
    mask = torch.rand(48, 16, generator=torch.Generator().manual_seed(0)) > 0.5
    register(masked.blocks[0].attention.qkv, "weight", Mask(mask))
    pruned = PruneHeads(ratio=0.5, criterion="norm").apply(masked, context)
    weight = pruned.blocks[0].attention.qkv.weight
    assert isinstance(weight, nn.Parameter) and weight.shape == (24, 16)
    assert 0.3 < float((weight == 0).float().mean()) < 0.7


def test_before_and_after_low_rank_it_comes_back_from_its_file(context):
    heads, rank = PruneHeads(ratio=0.5), LowRank(rank=0.5)
    for stages in (heads, rank), (rank, heads):
        network = make_vit()
        for stage in stages:
            network = stage.apply(network, context)
        edits = edits_of(network.eval())
        assert edits["blocks.0.attention"] == Edit(EditKind.HEADS, (2,))
        assert edits["blocks.0.attention.qkv"].kind == EditKind.SVD
        restored = decode(encode(network), make_vit()).eval()
        with torch.no_grad():
            assert torch.equal(restored(context.example()), network(context.example()))


class Uncalled(nn.Module):
    """Has attention beside that of its network, which it never calls."""

    def __init__(self):
        super().__init__()
        self.vit, self.auxiliary = make_vit(), nn.MultiheadAttention(16, 4)

    def forward(self, images):
        return self.vit(images)


def test_what_is_not_called_stays_whole_and_is_named(context):
    pruned = PruneHeads(ratio=0.5).apply(Uncalled(), context)
    assert "auxiliary" not in edits_of(pruned)
    (row,) = context.findings.tables["heads_kept_whole"]
    assert row["layer"] == "auxiliary" and "does not call it" in row["reason"]
    assert context.findings.words["whole/prune_heads"] == "auxiliary"


def test_networks_without_heads_are_refused(context, toy_network_without_attention):
    with pytest.raises(ValueError, match="prune_heads: Sequential has no attention whose heads can be removed"):
        PruneHeads(ratio=0.5).apply(toy_network_without_attention, context)
    unknown = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    unknown.attention = nn.MultiheadAttention(4, 2, add_zero_attn=True)
    with pytest.raises(ValueError, match="attention: MultiheadAttention: its form is none of those that are known"):
        PruneHeads(ratio=0.5).for_network(unknown, context.example())


@pytest.fixture
def toy_network_without_attention():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 4))


def test_wrong_values_are_named():
    for wrong in ({"ratio": 1.0}, {"ratio": -0.1}, {"ratio": 0.5, "criterion": "taylor"}):
        with pytest.raises(ValueError, match=next(reversed(wrong))):
            PruneHeads(**wrong)


def test_heads_go_also_where_tokens_merge(toy_data, make_context, context):
    merged = MergeTokens(tokens=0.5).apply(make_vit(depth=3), make_context(toy_data))
    pruned = PruneHeads(ratio=0.5).apply(merged, context)
    edits = left(pruned)
    assert [edits[f"blocks.{number}.attention"] for number in range(3)] == [(2,)] * 3
    assert "heads_kept_whole" not in context.findings.tables
    restored = decode(encode(pruned), make_vit(depth=3))
    assert torch.equal(restored.eval()(context.example()), pruned.eval()(context.example()))
