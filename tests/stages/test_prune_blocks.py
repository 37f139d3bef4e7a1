import dataclasses

import pytest
import torch
from torch import nn

from effbench import models
from effbench.codec import decode, encode
from effbench.compression.structure.edits import Edit, EditKind, edits_of
from effbench.stages.prune_blocks import PruneBlocks, removable_blocks


class Residual(nn.Module):
    def __init__(self, strength):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        with torch.no_grad():
            self.conv.weight.mul_(strength)
            self.conv.bias.zero_()

    def forward(self, images):
        return images + self.conv(images)


def network(strengths=(3.0, 0.0, 1.0), seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        blocks = nn.Sequential(*(Residual(strength) for strength in strengths))
        return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), blocks, nn.Flatten(), nn.Linear(256, 4)).eval()


def scripted(make_context, data, worth):
    """A context whose accuracy depends on which blocks are left: those removed cost what `worth` says."""
    score = lambda model: 1 - sum(worth[path] for path in edits_of(model))  # noqa: E731
    return dataclasses.replace(make_context(data), evaluate=score)


def test_blocks_are_found_outermost_and_only_where_shapes_agree():
    images = torch.zeros(2, 1, 8, 8)
    model = network()
    # Within the Sequential of blocks, the blocks; not the convolutions in them, nor the layers that change shape.
    assert removable_blocks(nn.Sequential(*model[2]), torch.zeros(2, 4, 8, 8)) == ["0", "1", "2"]
    assert removable_blocks(model, images) == ["2"]  # the whole Sequential of blocks is a block itself
    resnet = models.torchvision_model(name="resnet18", num_classes=4, in_channels=1)
    found = ["layer1.0", "layer1.1", "layer2.1", "layer3.1", "layer4.1"]
    assert removable_blocks(resnet, torch.zeros(2, 1, 32, 32)) == found
    assert resnet.training


class Net(nn.Module):
    """Blocks in a Sequential that changes shape."""

    def __init__(self, seed=0, strengths=(3.0, 0.0, 1.0)):
        super().__init__()
        parts = network(strengths, seed)
        self.blocks, self.head = nn.Sequential(parts[0], *parts[2]), parts[4]

    def forward(self, images):
        return self.head(self.blocks(images).flatten(1))


def test_the_least_harmful_go_first(toy_data, make_context):
    worth = {"blocks.1": 0.3, "blocks.2": 0.1, "blocks.3": 0.2}
    context = scripted(make_context, toy_data, worth)
    for count, gone in (0, []), (1, ["blocks.2"]), (2, ["blocks.2", "blocks.3"]), (3, list(worth)):
        pruned = PruneBlocks(count=count).apply(Net(), context)
        assert edits_of(pruned) == {path: Edit(EditKind.REMOVED) for path in gone}


def test_a_block_that_does_nothing_is_the_first_to_go(toy_data, make_context):
    model, images = Net().eval(), torch.randn(3, 1, 8, 8)
    same = lambda other: float(torch.isclose(other(images), model(images)).float().mean())  # noqa: E731
    context = dataclasses.replace(make_context(toy_data), evaluate=same)
    pruned = PruneBlocks(count=1).apply(model, context).eval()
    assert list(edits_of(pruned)) == ["blocks.2"]
    assert torch.equal(pruned(images), model(images))


def test_of_equally_harmful_blocks_the_largest_goes(toy_data, make_context):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64, bias=False), nn.Linear(64, 64), nn.Linear(64, 4))
    context = scripted(make_context, toy_data, {"1": 0.1, "2": 0.1})
    assert list(edits_of(PruneBlocks(count=1).apply(model, context))) == ["2"]


def test_more_than_there_are_is_an_error_that_lists_them(toy_data, make_context):
    with pytest.raises(
        ValueError, match=r"prune_blocks=4: Net has 3 removable blocks \(blocks.1, blocks.2, blocks.3\)"
    ):
        PruneBlocks(count=4).apply(Net(), make_context(toy_data))


def test_multiply_adds_and_parameters_fall_by_the_blocks_own(toy_data, make_context):
    context = make_context(toy_data)
    before, after = (context.cost(model) for model in (Net(), PruneBlocks(count=2).apply(Net(), context)))
    assert before.macs - after.macs == 2 * (4 * 4 * 9 * 64)
    assert before.params - after.params == 2 * (4 * 4 * 9 + 4)


def test_a_real_network_comes_back_from_its_file(toy_data, make_context):
    build = lambda: models.torchvision_model(name="resnet18", num_classes=4, in_channels=1)  # noqa: E731
    pruned = PruneBlocks(count=1).apply(build().eval(), make_context(toy_data, side=32)).eval()
    assert len(edits_of(pruned)) == 1
    images = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(decode(encode(pruned), build()).eval()(images), pruned(images))


def test_rounds_together_remove_the_count():
    assert [PruneBlocks(count=5).at_round(position, 3).count for position in (1, 2, 3)] == [1, 2, 2]
    with pytest.raises(ValueError, match="count=-1"):
        PruneBlocks(count=-1)


class ReadsABlock(nn.Module):
    """Uses the weight of its first block once more."""

    def __init__(self):
        super().__init__()
        self.blocks, self.head = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), nn.Linear(8, 4)

    def forward(self, images):
        return self.head(self.blocks(images.mean(2).flatten(1)) @ self.blocks[0].weight)


def test_a_block_whose_weights_are_used_elsewhere_stays():
    assert removable_blocks(ReadsABlock(), torch.randn(2, 1, 8, 8)) == ["blocks.1"]
