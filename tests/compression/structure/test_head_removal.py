import copy

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformer, SwinTransformerBlockV2

from effbench.codec import decode, encode
from effbench.compression.structure.attention_heads import find_heads
from effbench.compression.structure.edits import Edit, EditKind, edits_of
from effbench.compression.structure.head_removal import attention_layers, remove_heads
from effbench.measure.compute import count_cost
from effbench.models import small_vit
from effbench.models.attention import SelfAttention

SIZE = (1, 16, 16)


class Encoder(nn.Module):
    """Torch's own encoder, which in evaluation mode has a fast path past its modules."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, dropout=0.0)
        self.stem, self.encoder = nn.Conv2d(1, 16, 4, 4), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 3)

    def forward(self, images):
        return self.head(self.encoder(self.stem(images).flatten(2).transpose(1, 2)).mean(1))


def grey(network):
    network.register_forward_pre_hook(lambda _, inputs: (inputs[0].expand(-1, 3, -1, -1),))
    return network


def swin(**options):
    sizes = {"patch_size": [2, 2], "embed_dim": 8, "depths": [1, 2], "num_heads": [2, 4], "window_size": [2, 2]}
    return grey(SwinTransformer(**sizes, num_classes=3, **options))


def vit():
    sizes = {"image_size": 16, "patch_size": 4, "num_layers": 2, "num_heads": 4, "hidden_dim": 16, "mlp_dim": 32}
    return grey(VisionTransformer(**sizes, num_classes=3))


NETWORKS = {
    "small_vit": lambda: small_vit(input_side=16, width=16, depth=2, num_classes=3),
    "vit": vit,
    "swin": swin,
    "swin_v2": lambda: swin(block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2),
    "encoder": Encoder,
}


@pytest.fixture(params=NETWORKS)
def make(request):
    """Return what makes a network in evaluation mode, of which no parameter is zero."""

    def build():
        network = NETWORKS[request.param]()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        return network.eval()

    return build


def images(n=2):
    return torch.randn(n, *SIZE, generator=torch.Generator().manual_seed(1))


def outputs(network):
    with torch.no_grad():
        return network(images())


@pytest.mark.matrix(fast=2)
def test_the_network_is_that_with_zeros_before_the_projection_and_comes_back_from_its_file(make):
    network = make()
    layers, others = attention_layers(network)
    assert layers and not others
    going = {path: torch.tensor([0, 2]) if heads.n == 4 else torch.tensor([1]) for path, heads in layers.items()}
    silent, cut = copy.deepcopy(network), copy.deepcopy(network)
    for path, heads in going.items():
        weight = silent.get_submodule(path)._modules[_projection_of(silent, path)].weight
        width = weight.shape[1] // layers[path].n
        with torch.no_grad():
            for head in heads.tolist():
                weight[:, head * width : (head + 1) * width] = 0
    assert remove_heads(cut, images(), going) == {}
    assert torch.allclose(outputs(cut), outputs(silent), atol=1e-5)
    assert not torch.allclose(outputs(cut), outputs(network), atol=1e-3)
    kept = {path: Edit(EditKind.HEADS, (heads.n - len(going[path]),)) for path, heads in layers.items()}
    assert edits_of(cut) == edits_of(copy.deepcopy(cut)) == kept
    restored = decode(encode(cut), make()).eval()
    assert torch.equal(outputs(restored), outputs(cut))
    assert edits_of(restored) == kept
    cut.train()(images()).sum().backward()
    assert all(parameter.grad is not None for parameter in cut.parameters())


def _projection_of(network, path):
    attention = network.get_submodule(path)
    return next(name for name in ("projection", "proj", "out_proj") if name in attention._modules)


@pytest.mark.matrix(fast=1)
def test_counts_with_one_head_left_by_the_formula(make):
    network = make()
    layers, _ = attention_layers(network)
    cut = copy.deepcopy(network)
    remove_heads(cut, images(), {path: torch.arange(1, heads.n) for path, heads in layers.items()})
    before, after = (count_cost(one, SIZE) for one in (network, cut))
    own = sum(
        getattr(tensor.owner, tensor.name).numel() * (heads.n - 1) // heads.n
        for heads in layers.values()
        for tensor in heads.tensors
    )
    assert before.params - after.params == own
    assert after.unknown == ()
    if isinstance(network, type(small_vit())):
        # 16 tokens; of each block three of four heads of 4 numbers: rows of queries, keys and values, columns of the
        # projection, and both products of tokens with tokens.
        gone, tokens = 3 * 4, 16
        assert before.macs - after.macs == 2 * (tokens * 4 * 16 * gone + 2 * tokens**2 * gone)
        assert before.params - after.params == 2 * (3 * gone * (16 + 1) + 16 * gone)


@pytest.mark.matrix(fast=2)
def test_more_may_go_later_and_layers_within_may_be_changed(make):
    network = make()
    for _ in range(2):
        layers, _ = attention_layers(network)
        remove_heads(network, images(), {path: torch.tensor([0]) for path, heads in layers.items() if heads.n > 1})
    assert {edit.widths for edit in edits_of(network).values()} <= {(1,), (2,)}
    assert torch.equal(outputs(decode(encode(network), make()).eval()), outputs(network))


class Names(SelfAttention):
    """Names its width, as many networks do."""

    def forward(self, tokens):
        made = self.qkv(tokens).reshape(*tokens.shape[:2], 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(*made).transpose(1, 2)
        return self.projection(mixed.reshape(*tokens.shape[:2], 16))


class HeadByHead(SelfAttention):
    """Has queries, keys and values of one head beside each other."""

    def forward(self, tokens):
        made = self.qkv(tokens).reshape(*tokens.shape[:2], self.num_heads, 3, -1).permute(3, 0, 2, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(*made).transpose(1, 2)
        return self.projection(mixed.flatten(2))


@pytest.mark.parametrize(("kind", "why"), [(Names, "names the number of heads"), (HeadByHead, "something else")])
def test_what_fits_no_known_form_stays_whole_and_is_named(kind, why):
    network = small_vit(input_side=16, width=16, depth=2).eval()
    network.blocks[1].attention = kind(16, 4)
    before = outputs(network)
    going = {f"blocks.{number}.attention": torch.tensor([1, 2]) for number in (0, 1)}
    refused = remove_heads(network, images(), going)
    assert list(refused) == ["blocks.1.attention"]
    assert why in refused["blocks.1.attention"]
    assert list(edits_of(network)) == ["blocks.0.attention"]
    assert find_heads(network.blocks[1].attention).n == 4
    assert not torch.equal(outputs(network), before)
