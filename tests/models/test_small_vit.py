import pytest
import torch
from torch import nn

from effbench.measure.compute import count_cost
from effbench.models import small_vit


def n_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_parameters_and_macs_by_hand():
    width, hidden, tokens = 64, 256, 49
    stem_weights = 9 * 32 + 9 * 32 * 64
    block = 3 * width * (width + 1) + width * (width + 1) + hidden * (width + 1) + width * (hidden + 1) + 4 * width
    by_hand = stem_weights + 2 * 32 + 2 * 64 + tokens * width + 3 * block + 2 * width + 10 * (width + 1)
    assert n_parameters(small_vit()) == by_hand
    # Queries × keys and probabilities × values: tokens² numbers of head_dim products for each of the heads, twice.
    per_block = tokens * (4 * width**2 + 2 * width * hidden) + 2 * tokens**2 * width
    stem = 14 * 14 * 9 * 32 + 7 * 7 * 9 * 32 * 64
    assert count_cost(small_vit(), (1, 28, 28)).macs == stem + 3 * per_block + 10 * width


@pytest.mark.parametrize(
    ("alpha", "heads", "width"), [(0.01, 4, 4), (0.3, 4, 20), (0.5, 4, 32), (0.8, 3, 51), (2, 4, 128), (0.4, 1, 26)]
)
def test_alpha_gives_a_width_that_the_heads_divide(alpha, heads, width):
    model = small_vit(alpha=alpha, heads=heads, width=63 if heads == 3 else 64, depth=1)
    assert model.position_table.shape == (1, 49, width)
    assert model.blocks[0].attention.num_heads * model.blocks[0].attention.head_dim == width
    assert model(torch.zeros(1, 1, 28, 28)).shape == (1, 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0}, "alpha must be a finite number above 0"),
        ({"mlp_ratio": float("nan")}, "mlp_ratio must be a finite number above 0"),
        ({"patch": 3}, "patch must be 2, 4, 8, … with stem=convolutional, got 3; stem=patches takes any"),
        ({"patch": 1}, "got 1; stem=patches takes any"),
        ({"patch": 5, "stem": "patches"}, r"patch must divide the side of the images \(28\) with stem=patches, got 5"),
        ({"depth": 0}, "depth must be an integer of at least 1, got 0"),
        ({"heads": 3}, r"heads must divide the width \(64\), got 3"),
        ({"heads": 2.0}, "heads must be an integer"),
        ({"width": 0}, "width must be an integer of at least 1, got 0"),
        ({"stem": "none"}, "stem must be one of convolutional, patches, got 'none'"),
        ({"num_classes": 0}, "num_classes must be an integer of at least 1"),
        ({"input_side": 0}, "input_side must be an integer of at least 1"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        small_vit(**options)


@pytest.mark.parametrize("stem", ["convolutional", "patches"])
@pytest.mark.parametrize(("side", "patch"), [(28, 4), (28, 2), (16, 8), (17, 4), (9, 3)])
def test_both_stems_make_as_many_tokens(stem, side, patch):
    options = {"stem": stem, "patch": patch, "input_side": side, "in_channels": 3, "width": 8, "depth": 1}
    if (side % patch and stem == "patches") or (patch == 3 and stem == "convolutional"):
        with pytest.raises(ValueError, match="patch must"):
            small_vit(**options)
        return
    model = small_vit(**options)
    assert model.position_table.shape[1] == (-(-side // patch)) ** 2
    assert model(torch.zeros(2, 3, side, side)).shape == (2, 10)


def test_images_of_another_side_have_interpolated_places():
    model = small_vit(depth=1, width=8).eval()
    images = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        table = model._positions(7, 7)
        assert table is model.position_table
        assert model._positions(4, 5).shape == (1, 20, 8)
        model.position_table[:] = 3.0  # of equal places any others are equal, too
        assert torch.allclose(model._positions(14, 3), torch.full((1, 42, 8), 3.0))
        assert model(images[..., :20, :24]).shape == (2, 10)


def test_the_stem_halves_the_side_with_norms_between_its_convolutions():
    stem = small_vit(patch=8).stem
    assert [module.out_channels for module in stem if isinstance(module, nn.Conv2d)] == [16, 32, 64]
    assert [type(module).__name__ for module in stem][-2:] == ["Conv2d", "BatchNorm2d"]


def test_the_order_of_tokens_counts_by_their_places_alone():
    model = small_vit(depth=2, width=8, stem="patches").eval()
    images = torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mirrored = [model(images), model(images.flip(3).unfold(3, 4, 4).flip(4).flatten(3))]
        assert not torch.allclose(*mirrored, atol=1e-6)
        model.position_table.zero_()
        mirrored = [model(images), model(images.flip(3).unfold(3, 4, 4).flip(4).flatten(3))]
        assert torch.allclose(*mirrored, atol=1e-6)
