import copy

import pytest
import torch
from torch import nn

from effbench.constraints import constraints_on, quantizer_of, weight_layers
from effbench.stages.prune import Prune
from effbench.stages.quantize import Quantize
from effbench.stages.train import Train


@pytest.fixture(scope="module", params=[0, 1])
def trained_on_digits(request, digits_data, make_context):
    context = make_context(digits_data, seed=request.param, step="train")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(request.param)
        network = nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))
    return Train(epochs=5, lr=3e-3).apply(network, context), context


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
