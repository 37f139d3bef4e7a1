"""Profiles: the survey article's worked examples, VGG-16, and that nothing is lost or counted twice."""

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer

import effbench
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.stack import register
from effbench.measure.compute import COUNTS, count_cost
from effbench.measure.layer_profile import COLUMNS, profile_layers, profile_of


def conv(n_in, n_out, kernel, **options):
    return nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2, bias=False, **options)


@pytest.mark.parametrize(
    ("layer", "size", "macs", "weights"),
    [
        (conv(3, 4, 3), (3, 64, 64), 442_368, 108),
        (conv(3, 3, 3, groups=3), (3, 64, 64), 110_592, 27),
        (conv(3, 4, 1), (3, 64, 64), 49_152, 12),
        (conv(4, 2, 1), (4, 64, 64), 32_768, 8),
        (conv(4, 2, 1, groups=2), (4, 64, 64), 16_384, 4),
        (conv(3, 64, 3), (3, 224, 224), 86_704_128, 1_728),
        (conv(64, 128, 3), (64, 112, 112), 924_844_032, 73_728),
        (nn.Linear(1024, 512, bias=False), (1024,), 524_288, 524_288),
        (conv(32, 32, 7), (32, 1, 1), 50_176, 50_176),
    ],
)
def test_worked_examples_of_the_survey_article(layer, size, macs, weights):
    (row,) = profile_layers(layer, size).to_dict("records")
    assert (row["macs"], row["weights"], row["params"]) == (macs, weights, weights)
    assert row["activations"] == layer(torch.zeros(1, *size)).numel()


def test_a_separable_convolution_is_its_two_layers():
    layers = profile_layers(nn.Sequential(conv(3, 3, 3, groups=3), conv(3, 4, 1)), (3, 64, 64))
    assert layers["macs"].tolist() == [110_592, 49_152]
    assert layers["form"].tolist() == ["3×3 depthwise", "1×1"]
    assert layers["macs"].sum() / 442_368 == pytest.approx(1 / 4 + 1 / 9)


@pytest.mark.parametrize("rank", [1, 16, 341])
def test_a_linear_layer_at_a_rank(rank):
    layers = profile_layers(nn.Sequential(nn.Linear(1024, rank, bias=False), nn.Linear(rank, 512)), (1024,))
    assert layers["weights"].sum() == layers["macs"].sum() == rank * (1024 + 512)
    assert (layers["weights"].sum() < 1024 * 512) == (rank < 1024 * 512 / (1024 + 512))


@pytest.fixture(scope="module")
def vgg16():
    with torch.device("meta"):
        return profile_of(effbench.models.torchvision_model(name="vgg16"), (3, 224, 224))


def test_vgg16_is_as_the_survey_article_says(vgg16):
    layers, cost = vgg16.layers, vgg16.cost
    assert (cost.params, cost.macs) == (138_357_544, 15_470_264_320)
    sums = layers.groupby("group")[["macs", "params"]].sum()
    assert 100 * sums.at["fully connected", "macs"] / cost.macs == pytest.approx(0.80, abs=0.005)
    assert 100 * sums.at["fully connected", "params"] / cost.params == pytest.approx(89.4, abs=0.05)
    first = layers[layers["group"] == "fully connected"].iloc[0]
    assert (first["layer"], first["weights"], first["output"]) == ("classifier.0", 102_760_448, "4096")
    assert layers["layer"].tolist()[:3] == ["features.0", "features.2", "features.4"]
    assert layers.iloc[0][["output", "activations", "activation_bytes"]].tolist() == ["64×224×224", 3211264, 12845056]


def small_vit():
    return VisionTransformer(image_size=16, patch_size=8, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16)


def sample(name):
    models = {
        "mobilenet_v1": (effbench.models.mobilenet_v1, (3, 64, 64)),
        "shufflenet_v1": (effbench.models.shufflenet_v1, (3, 64, 64)),
        "small_segmenter": (effbench.models.small_segmenter, (1, 64, 64)),
        "vit": (small_vit, (3, 16, 16)),
    }
    factory, size = models[name]
    with torch.device("meta"):
        return factory(), size


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("name", ["mobilenet_v1", "shufflenet_v1", "small_segmenter", "vit"])
def test_layers_add_up_to_the_cost_of_the_network(name):
    model, size = sample(name)
    profile = profile_of(model, size)
    cost = count_cost(model, size)
    assert profile.cost == cost and list(profile.layers.columns) == COLUMNS
    assert {count: int(profile.layers[count].sum()) for count in COUNTS} == {c: getattr(cost, c) for c in COUNTS}
    assert not profile.layers.duplicated(["layer", "form"]).any()
    assert (profile.layers[["macs", "macs_effective", "params", "activations"]] >= 0).all(axis=None)


def test_zeros_of_masks_are_not_effective():
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 8, bias=False), nn.ReLU(), nn.Linear(8, 2, bias=False))
    register(network[1], "weight", Mask(torch.arange(128).reshape(8, 16) % 2))
    layers = profile_layers(network, (1, 4, 4)).set_index("layer")
    assert layers.loc["1", ["macs", "macs_effective", "params", "params_nonzero"]].tolist() == [128, 64, 128, 64]
    assert layers.loc["3", ["macs", "macs_effective"]].tolist() == [16, 16]
    assert "2" in layers.index and layers.at["2", "activations"] == 8


def test_layers_stand_in_the_order_in_which_they_begin():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first, self.never = nn.Linear(4, 2), nn.Linear(3, 4), nn.Linear(5, 5)
            self.position = nn.Parameter(torch.zeros(3))

        def forward(self, x):
            return self.last(self.first(x + self.position))

    layers = profile_layers(Backwards(), (3,))
    assert layers["layer"].tolist() == ["", "first", "last", "never"]
    assert layers["group"].tolist() == ["embedding", *["fully connected"] * 3]
    assert layers["macs"].tolist() == [0, 12, 8, 0] and layers["output"].tolist() == ["", "4", "2", ""]


def test_a_tied_weight_counts_once_and_multiplies_twice():
    network = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    network[1].weight = network[0].weight
    layers = profile_layers(network, (4,))
    assert layers["params"].tolist() == layers["weights"].tolist() == [16, 0]
    assert layers["macs"].sum() == 32


def test_what_can_not_be_counted_is_refused():
    with pytest.raises(ValueError, match="can't be counted on one input of size"):
        profile_layers(nn.Conv2d(3, 4, 3), (1, 8, 8))
    with pytest.raises(ValueError, match="input_size must be"):
        profile_layers(nn.Linear(3, 4), ())
