import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.masks import Mask
from effbench.compression.layers import (
    WEIGHT_LAYERS,
    is_depthwise,
    n_groups,
    other_matrices,
    weight_layers,
    weight_of,
    weights_of,
)

UPSAMPLING = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class Branches(nn.Module):
    """Every kind of layer that has a weight, and one of them in two places."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(1, 2, 1)
        self.again = self.first
        self.inner = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Conv3d(1, 2, 1))
        self.embedding = nn.Embedding(3, 2)
        self.up = nn.Sequential(*(kind(1, 2, 1) for kind in UPSAMPLING))
        self.norm = nn.LayerNorm(2)
        self.last = nn.Linear(2, 2)


def test_convolutions_and_linear_layers_are_named_in_order_and_once():
    layers = dict(weight_layers(Branches()))
    assert list(layers) == ["first", "inner.0", "inner.2", "up.0", "up.1", "up.2", "last"]
    assert {type(layer) for layer in layers.values()} == set(WEIGHT_LAYERS)


def test_a_constrained_layer_is_still_one(toy_network):
    network = toy_network()
    before = [name for name, _ in weight_layers(network)]
    parametrize.register_parametrization(network[0], "weight", Mask(torch.ones_like(network[0].weight)))
    assert [name for name, _ in weight_layers(network)] == before


def test_the_weight_is_that_after_the_constraints_without_a_gradient():
    layer = nn.Linear(3, 2)
    mask = torch.tensor([[True, False, True], [False, True, True]])
    parametrize.register_parametrization(layer, "weight", Mask(mask))
    weight = weight_of(layer)
    assert not weight.requires_grad
    assert torch.equal(weight != 0, mask)
    assert torch.equal(weight[mask], layer.parametrizations["weight"].original[mask])


def test_of_a_plain_layer_it_is_the_parameters_memory():
    layer = nn.Linear(3, 2)
    weight_of(layer)[0] = 7.0
    assert (layer.weight[0] == 7.0).all()


@pytest.mark.parametrize(
    ("layer", "depthwise", "groups"),
    [
        (nn.Conv2d(6, 6, 3), False, 1),
        (nn.Conv2d(6, 12, 3, groups=3), False, 3),
        (nn.Conv2d(6, 6, 3, groups=6), True, 1),
        (nn.Conv2d(6, 12, 3, groups=6), False, 6),
        (nn.Conv2d(1, 1, 3), False, 1),
        (nn.ConvTranspose2d(6, 6, 3, groups=2), False, 2),
        (nn.Linear(6, 6), False, 1),
    ],
)
def test_a_depthwise_convolution_mixes_no_channels_and_divides_none(layer, depthwise, groups):
    assert is_depthwise(layer) is depthwise
    assert n_groups(layer) == groups


def test_the_weights_of_every_kind_of_layer_are_named_where_they_stand():
    model = nn.Sequential(
        nn.LSTM(3, 4, proj_size=2, bidirectional=True),
        nn.GRUCell(3, 4),
        nn.MultiheadAttention(4, 2),
        nn.MultiheadAttention(4, 2, kdim=3, bias=False),
        nn.Bilinear(2, 3, 4),
    )
    assert [weight.name for weight in weights_of(model)] == [
        *(f"0.weight_{kind}_l0{end}" for end in ("", "_reverse") for kind in ("ih", "hh", "hr")),
        *("1.weight_ih", "1.weight_hh"),
        *("2.in_proj_weight", "2.out_proj"),
        *("3.q_proj_weight", "3.k_proj_weight", "3.v_proj_weight", "3.out_proj"),
    ]
    assert other_matrices(model) == {"4.weight": 24}


def test_a_tied_weight_is_yielded_once_with_all_its_places():
    model = nn.ModuleDict({"table": nn.Embedding(5, 3), "one": nn.Linear(3, 5), "other": nn.Linear(3, 5)})
    model["one"].weight = model["other"].weight = model["table"].weight
    (weight,) = weights_of(model)
    assert weight.names == ("one", "other", "table")
    assert weight.places == tuple((model[name], "weight") for name in weight.names)
    assert other_matrices(model) == {}
