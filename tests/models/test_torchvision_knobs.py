import pytest
import torch
import torchvision
from torch import nn

from effbench.measure.compute import count_cost
from effbench.models import torchvision_model
from effbench.models.torchvision_knobs import move_poolings


def on_meta(**options):
    with torch.device("meta"):
        return torchvision_model(**options)


def n_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize(
    ("name", "alpha", "builder"),
    [
        ("mobilenet_v2", 0.5, lambda: torchvision.models.MobileNetV2(width_mult=0.5)),
        ("mobilenet_v2", 1.4, lambda: torchvision.models.MobileNetV2(width_mult=1.4)),
        ("mobilenet_v3_small", 0.75, lambda: torchvision.models.mobilenet_v3_small(width_mult=0.75)),
        ("mobilenet_v3_large", 0.75, lambda: torchvision.models.mobilenet_v3_large(width_mult=0.75)),
        ("mnasnet1_0", 0.5, torchvision.models.mnasnet0_5),
    ],
)
def test_the_tensors_are_those_of_torchvisions_own_variants(name, alpha, builder):
    with torch.device("meta"):
        variant = builder()
    shapes = [
        {key: tensor.shape for key, tensor in net.state_dict().items()}
        for net in (on_meta(name=name, alpha=alpha), variant)
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(("alpha", "variant"), [(0.5, "mnasnet0_5"), (0.75, "mnasnet0_75"), (1.3, "mnasnet1_3")])
def test_counts_of_the_published_mnasnets(alpha, variant):
    published = torchvision.models.get_model_weights(variant)["IMAGENET1K_V1"].meta
    cost = count_cost(on_meta(name="mnasnet1_0", alpha=alpha), (3, 224, 224))
    assert cost.params == published["num_params"]
    assert round(cost.macs / 1e9, 3) == published["_ops"]


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(("alpha", "millions"), [(0.5, 97), (0.75, 209), (1.4, 582)])
def test_multiply_adds_of_the_published_mobilenets_v2(alpha, millions):
    # As the authors' checkpoints are listed: github.com/tensorflow/models, slim/nets/mobilenet.
    assert round(count_cost(on_meta(name="mobilenet_v2", alpha=alpha), (3, 224, 224)).macs / 1e6) == millions


def test_a_width_multiplies_the_networks_own():
    assert n_parameters(on_meta(name="mnasnet0_5", alpha=2)) == n_parameters(on_meta(name="mnasnet1_0"))


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("name", ["vgg11", "vgg16_bn", "vgg19"])
def test_early_poolings_cost_less_than_even_ones_than_late_ones(name):
    costs = [count_cost(on_meta(name=name, pooling=pooling), (3, 64, 64)) for pooling in ("early", "even", "late")]
    own = count_cost(on_meta(name=name), (3, 64, 64))
    assert {cost.params for cost in costs} == {own.params}
    assert costs[0].macs < costs[1].macs < costs[2].macs


@pytest.mark.parametrize(
    ("name", "own"), [("vgg11", "1-2-4-6-8"), ("vgg13_bn", "2-4-6-8-10"), ("vgg16", "2-4-7-10-13")]
)
def test_moved_to_where_they_are_the_network_is_the_same(name, own):
    given, moved = on_meta(name=name), on_meta(name=name, pooling=own)
    assert list(given.state_dict()) == list(moved.state_dict())
    assert [type(layer) for layer in given.features] == [type(layer) for layer in moved.features]


def test_weights_fit_wherever_the_poolings_stand(tmp_path):
    torch.manual_seed(0)
    plain = nn.Module()
    plain.features = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 3, 3, padding=1), nn.ReLU()
    )
    state, names = plain.state_dict(), ["0", "1", "3", "4", "pool2"]
    move_poolings(plain, "late", 8)
    assert [name for name, _ in plain.features.named_children()] == names
    plain.load_state_dict(state)
    assert plain.features(torch.zeros(1, 1, 8, 8)).shape == (1, 3, 4, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"name": "resnet18", "alpha": 0.5},
            "alpha=0.5: resnet18 has no width multiplier; .* mobilenet_v2, .*mnasnet1_3",
        ),
        ({"name": "shufflenet_v2_x1_0", "alpha": 2}, "shufflenet_v2_x1_0 has no width multiplier"),
        ({"name": "mobilenet_v2", "alpha": 0}, "alpha must be a finite number above 0"),
        (
            {"name": "mobilenet_v2", "alpha": 0.5, "weights": "DEFAULT"},
            "weights=DEFAULT are those of mobilenet_v2 at alp",
        ),
        (
            {"name": "resnet18", "pooling": "early"},
            "pooling=early: resnet18 has no poolings that can be moved; vgg11 to",
        ),
        ({"name": "vgg11", "pooling": "9"}, "ascending layer numbers from 1 to 8, as in 1-3; got '9'"),
        ({"name": "vgg11", "pooling": "early", "input_side": 16}, "the pooling after layer 5 would leave nothing"),
    ],
)
def test_what_a_network_has_not_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        on_meta(**options)
