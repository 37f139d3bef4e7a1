"""Widths of embeddings and position tables: which tables there are, that they are rounded, and what the file takes."""

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer
from torchvision.models.swin_transformer import SwinTransformer

from effbench.codec import decode, encode
from effbench.compression.layers import tables_of
from effbench.models import small_vit
from effbench.stages.quantize import Quantize


class Reader(nn.Module):
    """Reads pixels as words: an embedding, a table of positions, scales, and a weight that is tied to an embedding."""

    def __init__(self):
        super().__init__()
        self.words, self.tied = nn.Embedding(256, 8), nn.Embedding(4, 8)
        self.places = nn.Parameter(torch.randn(64, 8))
        self.scale, self.layer_scale = nn.Parameter(torch.ones(8)), nn.Parameter(torch.ones(8, 1, 1))
        self.out = nn.Linear(8, 4)
        self.out.weight = self.tied.weight
        self.register_buffer("fixed", torch.randn(3, 3))

    def forward(self, images):
        words = self.words((images.flatten(1).clamp(-1, 1) * 100 + 128).long())
        return self.out(((words + self.places) * self.scale).mean(1)) + self.tied.weight.sum()


def torchvisions():
    model = VisionTransformer(8, 2, 2, 2, 8, 16, num_classes=4)
    nn.init.normal_(model.class_token)
    model.conv_proj = nn.Conv2d(1, 8, 2, stride=2)
    return model


NETWORKS = {
    "torchvision's": (torchvisions, ["class_token", "encoder.pos_embedding"]),
    "small_vit": (
        lambda: small_vit(patch=2, depth=2, heads=2, width=8, num_classes=4, input_side=8),
        ["position_table"],
    ),
    "words": (Reader, ["places", "words"]),
    "none": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.LayerNorm(4), nn.PReLU(4)), []),
    "recurrent": (lambda: nn.Sequential(nn.Flatten(1, 2), nn.GRU(8, 4), nn.Bilinear(4, 4, 4)), []),
    "swin": (
        lambda: SwinTransformer([2, 2], 8, [2], [2], [2, 2], num_classes=4),
        [f"features.1.{block}.attn.relative_position_bias_table" for block in (0, 1)],
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_tables_are_embeddings_and_rows_beside_the_layers(name):
    make, expected = NETWORKS[name]
    model = make()
    assert [table.name for table in tables_of(model)] == expected
    quantized = Quantize(bits=4).for_network(model, torch.zeros(2, 1, 8, 8))
    assert quantized.identity()["fields"] == {"bits": 4, **({"tables": True} if expected else {})}
    off = Quantize(bits=4, tables=False)
    assert off.for_network(model, torch.zeros(2, 1, 8, 8)) is off


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("scheme", ["symmetric", "affine", "kmeans"])
@pytest.mark.parametrize("name", ["torchvision's", "small_vit", "words"])
def test_tables_are_on_their_grid_and_the_file_is_shorter_for_it(name, scheme, toy_data, make_context):
    make, tables = NETWORKS[name]
    torch.manual_seed(0)
    model, context = make(), make_context(toy_data)
    on, off = (Quantize(bits=3, scheme=scheme, granularity="tensor", tables=way) for way in (True, False))
    rounded, plain = on.apply(model, context).eval(), off.apply(model, context).eval()
    again = decode(encode(rounded), make())
    n_values = 0
    for table in tables_of(again):
        assert 1 < len(table.value().unique()) <= 2**3 + 1
        n_values += table.value().numel()
    assert [table.name for table in tables_of(rounded)] == tables
    # Four bytes a value as floats, at most half a byte as codes of three bits; and a scale, or the shared values.
    assert len(encode(plain, coder="none")) - len(encode(rounded, coder="none")) > (
        4 - 0.5
    ) * 0.9 * n_values - 60 * len(tables)
    images = context.example()
    assert torch.equal(again.eval()(images), rounded(images))


def test_what_it_acted_on_is_said(toy_data, make_context):
    context = make_context(toy_data)
    Quantize(bits=3).apply(torchvisions(), context)
    assert context.findings.words == {"tables/stage": "class_token, encoder.pos_embedding"}
    assert "acted_share/stage" not in context.findings.metrics
    context = make_context(toy_data)
    Quantize(bits=3, tables=False).apply(torchvisions(), context)
    assert context.findings.words == {"left/stage": "encoder.pos_embedding"}
    assert context.findings.metrics["acted_share/stage"] < 1


def test_a_table_has_a_width_of_its_own_and_rounds_leave_it_on_its_grid(toy_data, make_context):
    stage, context = Quantize(bits=8, granularity="tensor", layers={"encoder.pos*": 2}), make_context(toy_data)
    once = stage.apply(torchvisions(), context)
    n_levels = {table.name: len(table.value().unique()) for table in tables_of(once)}
    assert n_levels["encoder.pos_embedding"] == 3 < n_levels["class_token"]
    assert encode(stage.apply(once, context)) == encode(once)
    skipped = Quantize(bits=2, layers={"encoder.*": "skip"}).apply(torchvisions(), context)
    assert not hasattr(skipped.encoder, "parametrizations")


def test_training_goes_on_with_rounded_tables(toy_data, make_context):
    rounded = Quantize(bits=3).apply(torchvisions(), make_context(toy_data)).train()
    nn.init.normal_(rounded.heads.head.parametrizations.weight.original)
    rounded(make_context(toy_data).example()).square().sum().backward()
    assert rounded.encoder.parametrizations.pos_embedding.original.grad.abs().max() > 0
