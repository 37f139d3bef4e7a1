import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from effbench.codec import decode, encode
from effbench.compression.constraints.stack import bake, constraints_on
from effbench.compression.layers import weights_of
from effbench.stages.prune import Prune
from effbench.stages.quantize import Quantize
from effbench.stages.rate import Rate
from effbench.stages.share import Share
from effbench.stages.train import Train


@pytest.fixture(scope="module")
def trained(digits_data, make_context):
    """Return a small network with a batch norm, trained on the digits, and its context."""
    context = make_context(digits_data, step="rate")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(576, 10),
        )
    return Train(epochs=4, lr=3e-3).apply(network, context), context


def n_weights(network):
    return sum(weight.value().numel() for weight in weights_of(network))


def bits_a_weight(network, coder="context"):
    return 8 * len(encode(network, coder=coder)) / n_weights(network)


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("options", [{}, {"data_free": True}, {"trellis": False, "price": 0.1}, {"small": 0.0}])
@pytest.mark.parametrize("rate", [6.0, 3.5])
def test_the_file_takes_what_is_asked(trained, rate, options):
    network, context = trained
    rounded = Rate(rate=rate, **options).apply(network, context)
    assert bits_a_weight(rounded) == pytest.approx(rate, rel=0.01)
    assert context.findings.metrics["rate_reached/rate"] == pytest.approx(bits_a_weight(rounded))
    again = decode(encode(rounded, coder="context"), network)
    assert context.evaluate(again) == context.evaluate(rounded)


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("coder", ["none", "huffman", "ans"])
def test_another_coder_has_another_step(trained, coder):
    network, context = trained
    assert bits_a_weight(Rate(rate=5, coder=coder).apply(network, context), coder) <= 5 * 1.01


@pytest.mark.extended
def test_it_keeps_more_than_as_many_bits_in_a_width(trained):
    network, context = trained
    rounded = Quantize(bits=2, range="mse", rounding="feedback").apply(network, context)
    rate = bits_a_weight(rounded)
    assert context.evaluate(Rate(rate=rate).apply(network, context)) > context.evaluate(rounded)


@pytest.mark.extended
def test_each_ingredient_takes_loss_away(trained):
    network, context = trained
    plain = {"trellis": False, "rounding": "nearest", "allocation": "flat", "norms": "kept"}

    def loss(**options):
        return context.validate(Rate(rate=1.8, **{**plain, **options}).apply(network, context)).loss

    bare, best = loss(), loss(trellis=True, rounding="feedback", allocation="sensitivity", norms="reestimated")
    assert loss(norms="reestimated") < bare
    assert loss(rounding="feedback", norms="reestimated") < bare
    assert best < bare


@pytest.mark.extended
def test_without_data_none_is_looked_at(trained):
    network, context = trained
    blind = SimpleNamespace(
        findings=context.findings, step="rate", code_length=context.code_length, generator=context.generator
    )
    rounded = Rate(rate=4, data_free=True).apply(network, blind)
    assert bits_a_weight(rounded) == pytest.approx(4, rel=0.01)


@pytest.mark.extended
def test_what_was_pruned_stays_zero(trained):
    network, context = trained
    pruned = Prune(ratio=0.8).apply(network, context)
    rounded = Rate(rate=1.2).apply(pruned, context)
    for one, other in zip(weights_of(pruned), weights_of(rounded), strict=True):
        assert not other.value()[one.value() == 0].any()
    assert bits_a_weight(rounded) == pytest.approx(1.2, rel=0.01)


def test_a_file_that_is_small_already_stays_as_it_is(trained):
    network, context = trained
    pruned = Prune(ratio=0.95).apply(network, context)
    same = Rate(rate=16).apply(pruned, context)
    for one, other in zip(weights_of(pruned), weights_of(same), strict=True):
        assert torch.equal(one.value(), other.value())


@pytest.mark.extended
def test_over_its_own_result_it_does_nothing_or_goes_on_to_fewer_bits(trained):
    network, context = trained
    pruned = Prune(ratio=0.5).apply(network, context)
    once = Rate(rate=3).apply(pruned, context)
    assert bits_a_weight(Rate(rate=3).apply(once, context)) == bits_a_weight(once)
    less = Rate(rate=2).apply(once, context)
    assert bits_a_weight(less) == pytest.approx(2, rel=0.01)
    assert [len(constraints_on(*weight.places[0])) for weight in weights_of(less)] == [2, 2, 2]


@pytest.mark.extended
def test_a_rate_below_the_rest_of_the_file_names_the_least(trained):
    network, context = trained
    with pytest.raises(ValueError, match=r"rate=0\.01: must be at least [\d.]+ here") as refused:
        Rate(rate=0.01).apply(network, context)
    least = float(str(refused.value).split("at least ")[1].split(" ")[0])
    assert bits_a_weight(Rate(rate=2 * least).apply(network, context)) == pytest.approx(2 * least, rel=0.02)


@pytest.mark.parametrize("earlier", [Quantize(bits=4), Share(values=8)])
def test_what_is_quantised_already_is_refused(trained, earlier):
    network, context = trained
    with pytest.raises(ValueError, match="quantised already"):
        Rate(rate=3).apply(earlier.apply(network, context), context)


@pytest.mark.parametrize("rate", [0, -1, 40, float("nan")])
def test_what_is_no_rate_is_refused(rate):
    with pytest.raises(ValueError, match=f"rate={rate}"):
        Rate(rate=rate)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(trained, value):
    network, context = trained
    broken = copy.deepcopy(network)
    broken[3].weight.data[0, 0] = value
    with pytest.raises(ValueError, match="not finite can't be quantised: 3"):
        Rate(rate=3, data_free=True).apply(broken, context)


@pytest.mark.extended
def test_layers_have_no_rates_of_their_own_but_can_be_left(trained):
    network, context = trained
    with pytest.raises(ValueError, match="must be skip"):
        Rate(rate=3, layers={"0": 4.0})
    rounded = Rate(rate=4, layers={"0": "skip"}).apply(network, context)
    assert torch.equal(bake(rounded)[0].weight, network[0].weight)
    assert bits_a_weight(rounded) == pytest.approx(4, rel=0.01)


KINDS = {
    "no norms": lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10)),
    "attention": lambda: nn.Sequential(
        nn.Flatten(1, 2), nn.TransformerEncoderLayer(28, 4, 32, dropout=0.0, batch_first=True),
        nn.Flatten(), nn.Linear(784, 10),
    ),
    "depthwise": lambda: nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2), nn.Conv2d(16, 16, 3, groups=16, padding="same"), nn.ReLU(),
        nn.ConvTranspose2d(16, 8, 3), nn.BatchNorm2d(8, affine=False), nn.AdaptiveAvgPool2d(6), nn.Flatten(),
        nn.Linear(288, 10),
    ),
    "tied": lambda: tied(),
}  # fmt: skip


def tied():
    first, second = nn.Linear(784, 784), nn.Linear(784, 784)
    second.weight = first.weight
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), second, nn.ReLU(), nn.Linear(784, 10))


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("kind", KINDS)
def test_networks_of_every_kind(digits_data, make_context, kind):
    context = make_context(digits_data, step="rate")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = KINDS[kind]().eval()
    before = copy.deepcopy(network.state_dict())
    rounded = Rate(rate=5, examples=60).apply(network, context)
    assert bits_a_weight(rounded) == pytest.approx(5, rel=0.01)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    images = torch.rand(3, 1, 28, 28)
    again = decode(encode(rounded, coder="context"), network).eval()
    assert torch.equal(again(images), bake(rounded).eval()(images))
