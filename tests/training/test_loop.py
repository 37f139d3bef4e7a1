"""The one training loop: every bit by its seed, constraints held throughout, any loss."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.quantizer import UniformQuantizer
from effbench.tasks.classification import Classification
from effbench.training.evaluation import evaluate
from effbench.training.loop import TrainingOptions, fit

CPU = torch.device("cpu")
TASK = Classification()


def loss_of_task(outputs, images, targets):
    return TASK.loss(outputs, targets)


def train(model, data, *, seed=0, progress=None, **options):
    model = copy.deepcopy(model)
    options = TrainingOptions(**{"epochs": 4, "lr": 1e-2, "batch_size": 32, **options})
    generator = torch.Generator().manual_seed(seed)
    fit(model, data, options, side=data.side, generator=generator, device=CPU, progress=progress, loss=loss_of_task)
    return model


def accuracy(model, data):
    return evaluate(model, data, "test", task=TASK, side=data.side).quality


def same_state(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
def test_learns_a_separable_problem(toy_data, toy_network, precision, layout):
    model = train(toy_network(), toy_data, precision=precision, layout=layout)
    assert accuracy(model, toy_data) > 0.95
    assert not model.training
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert all(p.is_contiguous() for p in model.parameters())


def test_a_seed_decides_every_bit(make_toy_data, toy_network):
    data = make_toy_data(augment="crop_flip")
    network = nn.Sequential(*toy_network()[:-1], nn.Dropout(0.3), toy_network()[-1])  # randomness inside, too
    first, again, other = (train(network, data, seed=seed, epochs=2) for seed in (0, 0, 1))
    assert same_state(first, again)
    assert not same_state(first, other)


def test_the_global_random_state_is_left_alone_and_has_no_say(toy_data, toy_network):
    network = nn.Sequential(*toy_network()[:-1], nn.Dropout(0.3), toy_network()[-1])
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = train(network, toy_data, epochs=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert same_state(first, train(network, toy_data, epochs=1))


def test_no_epochs_train_nothing(toy_data, toy_network):
    network = toy_network()
    assert same_state(network, train(network, toy_data, epochs=0))


def test_masked_weights_stay_zero_and_the_others_learn(toy_data, toy_network):
    network = toy_network()
    before = network[5].weight.detach().clone()
    mask = torch.rand(network[5].weight.shape, generator=torch.Generator().manual_seed(0)) < 0.3
    parametrize.register_parametrization(network[5], "weight", Mask(mask))
    trained = train(network, toy_data, weight_decay=0.1)
    assert torch.equal(trained[5].weight == 0, ~mask)
    assert (trained[5].weight != before)[mask].all()
    assert accuracy(trained, toy_data) > 0.95


def test_quantised_weights_learn_on_their_grid(toy_data, toy_network):
    network = toy_network()
    for layer in (network[0], network[5]):
        parametrize.register_parametrization(layer, "weight", UniformQuantizer(2, granularity="tensor"))
    trained = train(network, toy_data)
    for layer in (trained[0], trained[5]):
        assert len(layer.weight.unique()) <= 3
        assert len(layer.parametrizations["weight"].original.unique()) > 20
    assert accuracy(trained, toy_data) > 0.95


def test_weight_decay_shrinks_weights_but_neither_biases_nor_norms(toy_data, toy_network):
    # AdamW's own steps move a parameter by about lr each: 14 steps by no more than 0.014.
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8, affine=True), nn.Linear(8, 4))
    for p in network.parameters():
        p.data.fill_(1.0)
    trained = train(network, toy_data, lr=1e-3, weight_decay=10.0, epochs=2)
    assert trained[1].weight.mean() < 0.98
    assert (trained[2].weight - 1).abs().max() < 0.02


def test_a_loss_that_is_not_finite_is_an_error(toy_data, toy_network):
    network = toy_network()
    with torch.no_grad():
        network[5].bias.fill_(math.inf)
    with pytest.raises(FloatingPointError, match=r"the loss is nan in epoch 1: a lower lr may help \(lr=0\.01\)"):
        train(network, toy_data)


def test_progress_is_told_of_every_step(toy_data, toy_network):
    told = []
    train(toy_network(), toy_data, epochs=2, fraction=0.5, progress=lambda *step: told.append(step))
    assert told == [(step, 8) for step in range(1, 9)]  # 102 examples in batches of 32, twice


def test_a_fraction_trains_on_fewer_examples_for_every_seed_on_the_same(toy_data, toy_network, make_toy_data):
    # An image that the fraction leaves out can't change the result.
    from effbench.data.base import subset

    left_out = sorted(set(range(203)) - set(subset(203, 0.5).tolist()))
    other = make_toy_data()
    other.images["train"][left_out] = 0
    for seed in (0, 1):
        one = train(toy_network(), toy_data, seed=seed, fraction=0.5, epochs=1)
        assert same_state(one, train(toy_network(), other, seed=seed, fraction=0.5, epochs=1))


def test_a_last_batch_of_one_example_is_left_out(toy_data, toy_network):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.BatchNorm1d(4))  # has no variance of one example
    train(network, toy_data, batch_size=101, epochs=1)  # 203 = 2 * 101 + 1


class TestLoss:
    def run(self, data, network, loss, **options):
        how = {"epochs": 1, "lr": 1e-2, "batch_size": 50}
        fit(
            network,
            data,
            TrainingOptions(**how),
            side=8,
            generator=torch.Generator().manual_seed(0),
            device=CPU,
            loss=loss,
            **options,
        )

    def test_gets_outputs_in_float32_the_images_as_the_network_sees_them_and_the_targets(self, toy_data, toy_network):
        seen = []

        def loss(outputs, images, targets):
            seen.append((outputs.dtype, tuple(outputs.shape), tuple(images.shape), targets.dtype, len(targets)))
            return TASK.loss(outputs, targets)

        self.run(toy_data, toy_network(), loss)
        sizes = [50, 50, 50, 50, 3]
        assert seen == [(torch.float32, (n, 4), (n, 1, 8, 8), torch.int64, n) for n in sizes]

    def test_by_number_it_gets_the_examples_numbers_in_the_order_of_their_labels(self, toy_data, toy_network):
        numbers, labels = [], []

        def by_number(outputs, images, targets):
            numbers.append(targets)
            return outputs.mean()

        def by_label(outputs, images, targets):
            labels.append(targets)
            return outputs.mean()

        self.run(toy_data, toy_network(), by_number, by_number=True)
        self.run(toy_data, toy_network(), by_label)
        assert sorted(torch.cat(numbers).tolist()) == list(range(203))
        assert torch.equal(toy_data.labels["train"][torch.cat(numbers)], torch.cat(labels))

    def test_any_other_is_minimised_as_well(self, toy_data, toy_network):
        network = toy_network()
        self.run(toy_data, network, lambda outputs, images, targets: (outputs - 3).square().mean())
        images = next(toy_data.batches("val", side=8, batch_size=61))[0]
        with torch.no_grad():
            before, after = (model.eval()(images) for model in (toy_network(), network))
        assert (after - 3).abs().mean() < 0.7 * (before - 3).abs().mean()


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("epochs", -1, "a whole number, 0 or more"),
        ("epochs", 1.5, "a whole number, 0 or more"),
        ("lr", 0.0, "a number above 0"),
        ("lr", math.nan, "a number above 0"),
        ("lr", math.inf, "a number above 0"),
        ("batch_size", 0, "a whole number, 1 or more"),
        ("weight_decay", -0.1, "a number, 0 or more"),
        ("weight_decay", math.nan, "a number, 0 or more"),
        ("fraction", 0.0, r"a number in \(0, 1\]"),
        ("fraction", 1.1, r"a number in \(0, 1\]"),
        ("precision", "int8", "float32, bfloat16 or float16"),
        ("layout", "channels_first", "channels_last or contiguous"),
    ],
)
def test_options_that_cannot_be_trained_with_are_named(option, value, allowed):
    with pytest.raises(ValueError, match=f"^{option}={value}: must be {allowed}$"):
        TrainingOptions(**{"epochs": 1, "lr": 0.1, option: value})


@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
def test_a_network_over_volumes_is_trained_in_either_layout(toy_data, layout):
    class Volume(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.n, self.f = nn.Conv3d(1, 4, 3, padding=1), nn.BatchNorm3d(4), nn.Linear(4, 4)

        def forward(self, x):
            return self.f(self.n(self.a(x[:, None])).relu().mean((2, 3, 4)))

    torch.manual_seed(0)
    model = Volume()
    assert not torch.equal(train(model, toy_data, layout=layout).a.weight, model.a.weight)
