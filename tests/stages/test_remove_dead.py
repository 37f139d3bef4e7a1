import pytest
import torch
from torch import nn

from effbench import models
from effbench.codec import decode, encode
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.stack import bake, constraints_on
from effbench.compression.layers import weight_layers
from effbench.run.store import Store
from effbench.stages.prune import Prune
from effbench.stages.remove_dead import RemoveDead
from effbench.stages.train import Train


def sparse(build, seed, *, keep, **options):
    """Return a network of which a random share of the weights of each layer is masked, and random biases."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(**options).eval()
    for name, layer in weight_layers(network):
        share = keep.get(name, keep["others"])
        mask = torch.rand(layer.weight.shape, generator=generator) < share
        torch.nn.utils.parametrize.register_parametrization(layer, "weight", Mask(mask))
        if layer.bias is not None:
            layer.bias.data = torch.randn(layer.bias.shape, generator=generator)
    return network


def n_weights(model):
    return sum(layer.weight.numel() for _, layer in weight_layers(model))


def outputs(model, n_channels=1, side=28):
    with torch.no_grad():
        return model(torch.randn(40, n_channels, side, side, generator=torch.Generator().manual_seed(5)))


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("build", "options", "keep"),
    [
        (models.lenet_300_100, {}, {"others": 0.004}),
        (models.lenet_5, {}, {"conv1": 0.1, "others": 0.004}),
        (models.lenet_5, {"activation": "relu"}, {"conv1": 0.1, "others": 0.004}),
    ],
)
def test_computes_the_same_with_far_fewer_weights(digits_data, make_context, build, options, keep, seed):
    network = sparse(build, seed, keep=keep, **options)
    smaller = RemoveDead().apply(network, make_context(digits_data))
    assert n_weights(smaller) < 0.5 * n_weights(network)
    torch.testing.assert_close(outputs(smaller), outputs(network), atol=1e-5, rtol=1e-5)
    restored = decode(encode(smaller), build(**options))
    assert torch.equal(outputs(restored), outputs(smaller))


def test_a_constant_that_meets_a_padded_border_is_no_bias(toy_data, make_context):
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 3, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(192, 4),
    ).eval()
    with torch.no_grad():
        network[0].weight[1] = 0
        network[0].bias[1] = 1.0
        network[2].weight[:, 2] = 0
    smaller = RemoveDead().apply(network, make_context(toy_data))
    assert smaller[0].out_channels == 3, "the unit without readers goes, the one with a constant stays"
    torch.testing.assert_close(outputs(smaller, side=8), outputs(network, side=8), atol=1e-5, rtol=1e-5)


def test_zeros_stay_zeros_in_later_training_and_the_store_keeps_it(toy_data, toy_network, make_context, tmp_path):
    context = make_context(toy_data)
    network = Prune(ratio=0.9, scope="layer").apply(toy_network(), context)
    smaller = RemoveDead().apply(network, context)
    trained = Train(epochs=1, lr=1e-2).apply(smaller, context)
    for (_, one), (_, other) in zip(weight_layers(smaller), weight_layers(trained), strict=True):
        assert isinstance(constraints_on(one, "weight")[-1], Mask)
        assert torch.equal(one.weight == 0, other.weight == 0)
        assert not torch.equal(one.weight, other.weight)
    store = Store(tmp_path)
    store.put_model("key", trained)
    kept = store.get_model("key", toy_network(seed=1))
    assert all(torch.equal(bake(trained).state_dict()[name], t) for name, t in bake(kept).state_dict().items())


def test_a_network_without_dead_units_stays_as_it_is(toy_data, toy_network, make_context):
    network = Prune(ratio=0.2).apply(toy_network(), make_context(toy_data))
    smaller = RemoveDead().apply(network, make_context(toy_data))
    assert smaller is not network
    assert torch.equal(outputs(smaller, side=8), outputs(network, side=8))
    assert encode(smaller) == encode(network)
