import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from effbench.codec import decode, encode
from effbench.compression.constraints.described import describe
from effbench.compression.constraints.stack import constraints_on, quantizer_of
from effbench.compression.layers import weight_layers
from effbench.stages.prune import Prune
from effbench.stages.quantize import Quantize
from effbench.stages.share import Share
from effbench.stages.train import Train


@pytest.fixture(scope="module", params=[0, 1])
def trained_on_digits(request, digits_data, make_context, train_perceptron):
    context = make_context(digits_data, seed=request.param, step="train")
    return train_perceptron(context, epochs=5), context


def test_every_weight_layer_is_on_its_grid_and_nothing_else_is_touched(toy_data, toy_network, make_context):
    network = toy_network()
    quantized = Quantize(bits=3).apply(network, make_context(toy_data))
    for _, layer in weight_layers(quantized):
        assert quantizer_of(layer, "weight").bits == 3
        assert max(len(channel.unique()) for channel in layer.weight) <= 7
    assert torch.equal(quantized[0].bias, network[0].bias)
    assert torch.equal(quantized[1].weight, network[1].weight)


def test_sixteen_bits_change_nothing_that_matters_and_one_changes_much(trained_on_digits):
    model, context = trained_on_digits
    accuracy = {bits: context.evaluate(Quantize(bits=bits).apply(model, context)) for bits in (16, 8, 1)}
    reference = context.evaluate(model)
    assert accuracy[16] == pytest.approx(reference, abs=0.002)
    assert accuracy[8] == pytest.approx(reference, abs=0.005)
    assert accuracy[1] < reference - 0.05


def test_a_grid_per_channel_keeps_more_where_channels_are_uneven(trained_on_digits):
    model, context = trained_on_digits
    uneven = copy.deepcopy(model)
    factors = 10.0 ** torch.linspace(-2, 2, 32)  # scaled up here and down again in the next layer: the same function
    with torch.no_grad():
        uneven[1].weight *= factors[:, None]
        uneven[1].bias *= factors
        uneven[3].weight /= factors
    assert context.evaluate(uneven) == pytest.approx(context.evaluate(model), abs=0.003)
    quantized = {granularity: copy.deepcopy(uneven) for granularity in ("tensor", "channel")}
    for granularity, network in quantized.items():
        quantized[granularity] = Quantize(bits=4, granularity=granularity).apply(network, context)
        quantized[granularity][3] = uneven[3]  # its uneven inputs are another matter
    accuracy = {granularity: context.evaluate(network) for granularity, network in quantized.items()}
    assert accuracy["channel"] > context.evaluate(model) - 0.02
    assert accuracy["tensor"] < accuracy["channel"] - 0.2


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("bits", [1, 2])
def test_training_on_the_grid_beats_rounding_afterwards(trained_on_digits, granularity, bits):
    model, context = trained_on_digits
    quantize, finetune = Quantize(bits=bits, granularity=granularity), Train(epochs=2, lr=1e-3)
    afterwards = context.evaluate(quantize.apply(finetune.apply(model, context), context))
    aware = context.evaluate(finetune.apply(quantize.apply(model, context), context))
    # Seen over four seeds: at 2 bits 0.87 to 0.91 against 0.50 to 0.77, at one bit 0.87 to 0.90 against 0.53 to 0.81.
    assert aware > 0.85
    assert aware > afterwards + 0.03


def test_a_mask_survives(toy_data, toy_network, make_context):
    context = make_context(toy_data)
    pruned = Prune(ratio=0.7).apply(toy_network(), context)
    for bits in (1, 2, 8):
        quantized = Quantize(bits=bits).apply(pruned, context)
        for (_, one), (_, other) in zip(weight_layers(pruned), weight_layers(quantized), strict=True):
            assert (other.weight[one.weight == 0] == 0).all()


def test_further_rounds_do_not_pile_up_grids(toy_data, toy_network, make_context):
    context, quantize = make_context(toy_data), Quantize(bits=4)
    once = quantize.at_round(1, 2).apply(toy_network(), context)
    tuned = Train(epochs=1, lr=1e-3).apply(once, context)
    again = quantize.at_round(2, 2).apply(tuned, context)
    for (_, one), (_, other) in zip(weight_layers(tuned), weight_layers(again), strict=True):
        assert torch.equal(one.weight, other.weight)
        assert len(constraints_on(other, "weight")) == 1


def test_another_width_has_the_last_word(toy_data, toy_network, make_context):
    context = make_context(toy_data)
    coarse = Quantize(bits=2).apply(Quantize(bits=8).apply(toy_network(), context), context)
    assert quantizer_of(coarse[5], "weight").bits == 2
    assert max(len(channel.unique()) for channel in coarse[5].weight) <= 3


@pytest.mark.parametrize(
    ("option", "value"), [("bits", 0), ("bits", 17), ("bits", 32), ("scheme", "log"), ("granularity", "row")]
)
def test_what_is_no_width_or_no_grid_is_named(option, value):
    with pytest.raises(ValueError, match=f"{option}={value}: must be"):
        Quantize(**{"bits": 8, option: value})


@given(st.integers(1, 5), st.integers(0, 2**31), st.floats(0.5, 3.0))
def test_kmeans_is_never_worse_than_as_many_levels_evenly_spread(toy_data, make_context, bits, seed, power):
    """Lloyd's algorithm starts from these very levels, and each of its rounds lowers the squared error."""
    layer = nn.Linear(16, 8)
    with torch.no_grad():
        noise = torch.randn(8, 16, generator=torch.Generator().manual_seed(seed))
        layer.weight.copy_(torch.sign(noise) * noise.abs() ** power)
    weight = layer.weight.detach().double()
    levels = torch.linspace(float(weight.min()), float(weight.max()), 2**bits, dtype=torch.float64)
    even = (weight.unsqueeze(-1) - levels).abs().amin(-1).square().sum()
    quantized = Quantize(bits=bits, scheme="kmeans").apply(nn.Sequential(layer), make_context(toy_data))
    assert len(quantized[0].weight.unique()) <= 2**bits
    assert (quantized[0].weight.double() - weight).square().sum() <= even * (1 + 1e-5) + 1e-12


@pytest.mark.parametrize("bits", [2, 3])
def test_kmeans_keeps_more_than_a_uniform_grid_of_as_many_bits(trained_on_digits, bits):
    model, context = trained_on_digits
    accuracy = {
        scheme: context.evaluate(Quantize(bits=bits, scheme=scheme, granularity="tensor").apply(model, context))
        for scheme in ("symmetric", "affine", "kmeans")
    }
    # Seen over four seeds at two bits: kmeans 0.86 to 0.90, symmetric 0.46 to 0.64, affine 0.77 to 0.87 (once 0.002
    # above kmeans); at three 0.91, 0.87 to 0.91 and 0.89 to 0.90. At one bit kmeans is no better than a scaled sign.
    assert accuracy["kmeans"] > accuracy["symmetric"]
    assert accuracy["kmeans"] > accuracy["affine"] - 0.005


def test_kmeans_is_weight_sharing_with_two_to_the_bits_values(toy_data, toy_network, make_context):
    context = make_context(toy_data)
    pruned = Prune(ratio=0.5).apply(toy_network(), context)
    quantized = Quantize(bits=3, scheme="kmeans").apply(pruned, context)
    shared = Share(values=8).apply(pruned, context)
    for (_, one), (_, other) in zip(weight_layers(quantized), weight_layers(shared), strict=True):
        assert torch.equal(one.weight, other.weight)
        assert len(one.weight[one.weight != 0].unique()) == 8
    tuned = Train(epochs=1, lr=1e-2).apply(quantized, context)
    again = Quantize(bits=3, scheme="kmeans").apply(tuned, context)
    for (_, before), (_, one), (_, other) in zip(*map(weight_layers, (quantized, tuned, again)), strict=True):
        assert not torch.equal(before.weight, one.weight)  # the values were trained
        assert torch.equal(one.weight, other.weight)  # and are found again as they are


def test_the_file_holds_two_bits_a_weight_and_the_values(make_context, toy_data):
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Linear(400, 250, bias=False))
    with torch.no_grad():
        network[0].weight.copy_(torch.randn(250, 400, generator=generator))
    quantized = Quantize(bits=2, scheme="kmeans").apply(network, make_context(toy_data))
    blob = encode(quantized, coder="none")
    assert 100_000 * 2 / 8 <= len(blob) <= 100_000 * 2 / 8 + 4 * 4 + 60
    assert torch.equal(decode(blob, network)[0].weight, quantized[0].weight)


def test_kmeans_finds_its_own_levels_and_says_so():
    with pytest.raises(ValueError, match="range=mse: must be max with scheme=kmeans"):
        Quantize(bits=4, scheme="kmeans", range="mse")


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_feedback_loses_less_than_rounding_to_the_nearest_level(trained_on_digits, scheme, granularity):
    model, context = trained_on_digits
    options = {"bits": 2 if scheme == "affine" else 3, "scheme": scheme, "granularity": granularity}
    losses = {}
    for rounding in ("nearest", "feedback"):
        network = Quantize(rounding=rounding, **options).apply(model, context)
        losses[rounding] = context.validate(network).loss
        restored = decode(encode(network), network)
        for (_, layer), (_, back) in zip(weight_layers(network), weight_layers(restored), strict=True):
            assert torch.equal(layer.weight, back.weight)
            assert max(len(row.unique()) for row in layer.weight) <= 2 ** options["bits"]
    assert losses["feedback"] < losses["nearest"]


def test_feedback_leaves_pruned_weights_zero(trained_on_digits):
    model, context = trained_on_digits
    pruned = Prune(ratio=0.6).apply(model, context)
    network = Quantize(bits=4, rounding="feedback").apply(pruned, context)
    for (_, before), (_, after) in zip(weight_layers(pruned), weight_layers(network), strict=True):
        assert ((after.weight == 0) | (before.weight != 0)).all()


def test_feedback_says_what_showed_no_inputs(toy_data, make_context):
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = nn.LSTM(8, 6, batch_first=True), nn.Linear(6, 4)

        def forward(self, images):
            return self.head(self.lstm(images[:, 0])[0][:, -1])

    context = make_context(toy_data)
    quantized = Quantize(bits=4, rounding="feedback").apply(Recurrent(), context)
    share = context.findings.metrics[f"feedback_share/{context.step}"]
    assert share == pytest.approx(24 / (24 + 24 * 8 + 24 * 6))
    assert quantizer_of(quantized.lstm, "weight_ih_l0").bits == 4


def test_levels_that_are_not_even_have_no_feedback():
    with pytest.raises(ValueError, match="rounding=feedback: must be nearest with scheme=kmeans"):
        Quantize(bits=4, scheme="kmeans", rounding="feedback")


@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
@pytest.mark.parametrize("options", [{}, {"range": "mse"}, {"granularity": "tensor"}, {"rounding": "feedback"}])
def test_scales_that_are_powers_of_two_are_the_next_ones_above_and_come_back(
    toy_data, toy_network, make_context, scheme, options
):
    context = make_context(toy_data)
    real = Quantize(bits=6, scheme=scheme, **options).apply(toy_network(), context)
    fixed = Quantize(bits=6, scheme=scheme, scale="power_of_two", **options).apply(toy_network(), context)
    for name, layer in weight_layers(fixed):
        scale = quantizer_of(layer, "weight").quantize(layer.weight).scale
        assert (torch.frexp(scale).mantissa == 0.5).all()
        other = real.get_submodule(name)
        if "range" not in options:
            ratio = scale / quantizer_of(other, "weight").quantize(other.weight).scale
            assert (ratio >= 1).all() and (ratio < 2).all()
    restored = decode(encode(fixed), toy_network(seed=1))
    assert all(torch.equal(restored.get_submodule(name).weight, layer.weight) for name, layer in weight_layers(fixed))
    again = Quantize(bits=6, scheme=scheme, scale="power_of_two", **options).apply(fixed, context)
    assert all(torch.equal(again.get_submodule(name).weight, layer.weight) for name, layer in weight_layers(fixed))
    assert describe(again) == describe(fixed)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bits": 2, "scheme": "ternary"}, "scale=power_of_two: must be real with scheme=ternary"),
        ({"bits": 4, "scheme": "kmeans"}, "scale=power_of_two: must be real with scheme=kmeans"),
        ({"bits": 4, "scheme": "power_of_two"}, "scale=power_of_two: must be real with scheme=power_of_two"),
        ({"bits": 1}, "bits=1: must be 2 or more with scale=power_of_two"),
    ],
)
def test_levels_without_even_steps_have_no_such_scale(options, said):
    with pytest.raises(ValueError, match=said):
        Quantize(**options, scale="power_of_two")
