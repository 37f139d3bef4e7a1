import dataclasses

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer
from torchvision.models.swin_transformer import SwinTransformer

from effbench import models
from effbench.codec import decode, encode
from effbench.compression.structure.edits import Edit, EditKind, edits_of, remove_module
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


@pytest.mark.extended
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


class Listed(nn.Module):
    """Blocks in a list, called with more than their input."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(256, 4)
        self.blocks = nn.ModuleList([Scaled(), Scaled(), Summed(), Paired(), Named()])

    def forward(self, images):
        maps = self.stem(images)
        maps = self.blocks[0](maps, 0.5)
        maps = self.blocks[1](maps, scale=torch.tensor(2.0))
        maps = self.blocks[2](maps, maps + 1)
        maps, _ = self.blocks[3](maps)
        return self.head(self.blocks[4](maps=maps).flatten(1))


class Scaled(Residual):
    def __init__(self):
        super().__init__(1.0)

    def forward(self, images, scale):
        return images + scale * self.conv(images)


class Summed(Scaled):
    """Takes two maps: it is not known which one it passes on."""

    def forward(self, images, others):
        return images + self.conv(others)


class Paired(Scaled):
    def forward(self, images):
        return images + self.conv(images), None


class Named(Scaled):
    """Is given its input by name, which nothing in its place could know."""

    def forward(self, maps):
        return maps + self.conv(maps)


def test_blocks_of_lists_with_other_arguments_are_found_and_come_back_from_the_file(toy_data, make_context):
    images = torch.randn(2, 1, 8, 8)
    assert removable_blocks(Listed(), images) == ["blocks.0", "blocks.1"]
    pruned = PruneBlocks(count=2).apply(Listed(), make_context(toy_data)).eval()
    assert set(edits_of(pruned)) == {"blocks.0", "blocks.1"}
    restored = decode(encode(pruned), Listed()).eval()
    with torch.no_grad():
        assert torch.equal(restored(images), pruned(images))


def swin():
    sizes = {"patch_size": [2, 2], "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 4], "window_size": [2, 2]}
    return SwinTransformer(**sizes, num_classes=4)


def vit():
    return VisionTransformer(
        image_size=16, patch_size=4, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=8, num_classes=4
    )


class Encoder(nn.Module):
    """Torch's own encoder: what it calls its first layer for, others can't give."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.stem, self.encoder = nn.Conv2d(3, 8, 4, 4), nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)

    def forward(self, images):
        return self.encoder(self.stem(images).flatten(2).transpose(1, 2)).mean(1)


@pytest.mark.parametrize(
    ("make", "blocks"),
    [
        (swin, ["features.1.0", "features.1.1", "features.3.0", "features.3.1"]),
        (vit, ["encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1"]),
        (Encoder, ["encoder.layers.1", "encoder.layers.2"]),
        (
            lambda: models.small_vit(patch=4, depth=2, width=8, heads=2, in_channels=3, input_side=16),
            ["blocks.0", "blocks.1"],
        ),
    ],
    ids=["swin", "vit", "torch", "small_vit"],
)
def test_blocks_of_transformers_are_removable_one_by_one(make, blocks):
    network, images = make().eval(), torch.randn(2, 3, 16, 16)
    assert removable_blocks(network, images) == blocks
    remove_module(network, blocks[-1])
    restored = decode(encode(network), make()).eval()
    with torch.no_grad():
        assert torch.equal(restored(images), network(images))
