"""A width per layer: never over the budget, better than the same width everywhere, and the measurements to see why."""

import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from effbench import models
from effbench.codec import encode
from effbench.compression.constraints.stack import quantizer_of
from effbench.compression.layers import weight_layers
from effbench.plan.findings import Findings
from effbench.stages.bits_budget import BitsBudget
from effbench.stages.fold_batch_norm import FoldBatchNorm
from effbench.stages.prune import Prune
from effbench.stages.quantize import Quantize
from effbench.stages.train import Train

SEEDS = (0, 1)


@pytest.fixture(scope="module")
def trained(digits_data, make_context):
    """Two small convolutional networks trained on digits, each with a context that keeps what was measured."""
    found = []
    for seed in SEEDS:
        context = make_context(digits_data, seed=seed, step="train", side=14)
        kept = {}

        def keep(name, make, kept=kept):
            if name not in kept:
                kept[name] = make()
            return kept[name]

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = models.small_cnn(
                num_classes=10, in_channels=1, input_side=14, channels=(8, 8, 16, 24), n_poolings=2
            )
        model = Train(epochs=3, lr=5e-3).apply(network, context)
        found.append((model, dataclasses.replace(context, keep=keep)))
    return found


def mean_bits(table):
    chosen = table[table.chosen]
    return float(np.average(chosen.bits, weights=chosen.weights))


def allot(model, context, budget, **options):
    """Return the network and the table of its sensitivities."""
    context = dataclasses.replace(context, findings=Findings())
    network = BitsBudget(budget=budget, **options).apply(model, context)
    return network, pd.DataFrame(context.findings.tables["sensitivity"])


@pytest.mark.extended
def test_the_budget_is_kept_and_used(trained):
    model, context = trained[0]
    n_weights = sum(layer.weight.numel() for _, layer in weight_layers(model))
    for budget in (2, 2.3, 3, 3.9, 5.5, 8, 16):
        network, table = allot(model, context, budget)
        chosen = table[table.chosen]
        assert list(chosen.layer) == [name for name, _ in weight_layers(network)]
        assert list(chosen.bits) == [quantizer_of(layer, "weight").bits for _, layer in weight_layers(network)]
        spent = (chosen.weights * chosen.bits).sum() / n_weights
        assert spent <= budget
        assert budget != 3.9 or spent > 3.5


@pytest.mark.extended
def test_the_same_budget_predicts_no_more_than_the_same_width_everywhere(trained):
    for model, context in trained:
        for bits in (2, 3, 4, 6, 8):
            _, table = allot(model, context, bits)
            uniform = table[table.bits == bits].loss_increase.sum()
            assert table[table.chosen].loss_increase.sum() <= uniform + 1e-12


@pytest.mark.extended
def test_its_loss_is_never_above_that_of_uniform_bits_in_as_many_bytes(trained):
    """As measured on validation, at each width; the file's heads and scales are the same."""
    gains = {}
    for model, context in trained:
        for bits in (2, 3, 4, 6):
            uniform = Quantize(bits=bits).apply(model, context)
            allotted, _ = allot(model, context, bits)
            one, other = context.validate(allotted), context.validate(uniform)
            assert one.loss <= other.loss
            gains.setdefault(bits, []).append(one.quality - other.quality)
            n_bytes = [len(encode(network, coder="none")) for network in (allotted, uniform)]
            assert n_bytes[0] <= n_bytes[1] + 16
    assert np.mean(gains[3]) > 0.02


@pytest.mark.extended
def test_the_table_holds_what_one_layer_alone_costs(trained):
    model, context = trained[0]
    _, table = allot(model, context, 4, widths="3-8")
    assert list(table.bits.unique()) == [8, 3]
    alone = copy.deepcopy(model)
    name = "features.conv2"
    rounded = Quantize(bits=3).apply(model, context).get_submodule(name)
    alone.features.conv2 = rounded
    row = table[(table.layer == name) & (table.bits == 3)].iloc[0]
    found, reference = context.validate(alone), context.validate(model)
    assert row.loss_increase == pytest.approx(found.loss - reference.loss, abs=1e-9)
    assert row.accuracy_val == found.quality
    assert row.weights == rounded.weight.numel()


@pytest.mark.extended
def test_a_budget_of_accuracy_is_kept_as_measured_and_a_larger_one_costs_less(trained):
    model, context = trained[1]
    reference, bits = context.evaluate(model), []
    for budget in (0.002, 0.01, 0.05, 0.2):
        network, table = allot(model, context, budget, by="accuracy")
        assert context.evaluate(network) >= reference - budget - 1e-9
        bits.append(mean_bits(table))
    assert bits == sorted(bits, reverse=True)
    assert bits[-1] < bits[0]


def test_an_accuracy_that_no_width_keeps_is_an_error(trained):
    model, context = trained[0]
    with pytest.raises(ValueError, match=r"budget=0.001: must be larger here"):
        allot(model, context, 0.001, by="accuracy", widths="1-2")


@pytest.mark.extended
def test_pruned_weights_take_no_part_of_the_budget(trained):
    model, context = trained[0]
    pruned = Prune(ratio=0.7).apply(model, context)
    network, table = allot(pruned, dataclasses.replace(context, keep=lambda name, make: make()), 4)
    assert table.weights[table.chosen].sum() < 0.31 * sum(layer.weight.numel() for _, layer in weight_layers(model))
    assert (table.weights * table.bits)[table.chosen].sum() <= 4 * table.weights[table.chosen].sum()
    for (_, one), (_, other) in zip(weight_layers(pruned), weight_layers(network), strict=True):
        assert (other.weight[one.weight == 0] == 0).all()


def test_a_later_round_keeps_the_widths_and_other_budgets_measure_nothing_anew(trained):
    model, context = trained[0]
    once, _ = allot(model, context, 4)
    tuned = Train(epochs=1, lr=1e-3, fraction=0.2).apply(once, context)
    silent = dataclasses.replace(context, validate=None, evaluate=None, findings=Findings())
    again = BitsBudget(budget=4).at_round(2, 2).apply(tuned, silent)
    for (_, one), (_, other) in zip(weight_layers(tuned), weight_layers(again), strict=True):
        assert torch.equal(one.weight, other.weight)
    assert silent.findings.is_empty
    calls = []
    counting = dataclasses.replace(context, validate=lambda network: calls.append(1) or context.validate(network))
    allot(model, counting, 5)
    assert len(calls) == 3  # the reference and two allocations: each layer alone was measured for a budget of 4


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("scheme", ["affine", "kmeans", "power_of_two"])
def test_other_levels_and_folded_batch_norms_take_a_budget_too(trained, scheme):
    model, context = trained[0]
    folded = FoldBatchNorm(enabled=True).apply(model, context)
    network, table = allot(folded, dataclasses.replace(context, keep=lambda name, make: make()), 5, scheme=scheme)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert (table.weights * table.bits)[table.chosen].sum() <= 5 * table.weights[table.chosen].sum()
    for (_, layer), bits in zip(weight_layers(network), table.bits[table.chosen], strict=True):
        per_grid = layer.weight.flatten(1) if scheme != "kmeans" else layer.weight.reshape(1, -1)
        assert max(len(row.unique()) for row in per_grid) <= 2**bits
    assert context.evaluate(network) > context.evaluate(model) - 0.1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"budget": 1.5}, "budget=1.5: must be 2 .* bits a weight"),
        ({"budget": 4, "widths": "17-2"}, "widths=17-2: must be 1 to 16"),
        ({"budget": 4, "range": "mse", "scheme": "kmeans"}, "range=mse: must be max with scheme=kmeans"),
        ({"budget": 4, "scheme": "ternary"}, "widths=8-6-4-3-2: must be 2 with scheme=ternary"),
    ],
)
def test_what_is_no_budget_is_named(options, says):
    with pytest.raises(ValueError, match=says):
        BitsBudget(**options)


def test_what_was_measured_before_scales_could_be_powers_of_two_is_found_again():
    assert BitsBudget(budget=4.0)._how() == "5b27706d4ebb16a34a3a"
    fixed = BitsBudget(budget=4.0, scale="power_of_two")
    assert fixed._how() != BitsBudget(budget=4.0)._how()
    with pytest.raises(ValueError, match="widths=8-1: must be 2 or more with scale=power_of_two"):
        BitsBudget(budget=4.0, widths="8-1", scale="power_of_two")


@pytest.mark.extended
def test_scales_that_are_powers_of_two(trained):
    model, context = trained[0]
    network, _ = allot(model, context, 4, scale="power_of_two")
    for _, layer in weight_layers(network):
        scale = quantizer_of(layer, "weight").quantize(layer.weight).scale
        assert (torch.frexp(scale).mantissa == 0.5).all()
