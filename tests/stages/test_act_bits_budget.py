"""A width for the activations of each layer: never over the budget, no worse than one width, and back from the file."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from effbench import models
from effbench.codec import decode, encode
from effbench.compression.constraints.layer_inputs import InputGrid, constraints_on_inputs, grid_on, product_grids_on
from effbench.compression.layers import weight_layers
from effbench.plan.findings import Findings
from effbench.stages.act_bits_budget import ActBitsBudget
from effbench.stages.quantize import Quantize
from effbench.stages.quantize_inputs import QuantizeInputs
from effbench.stages.train import Train

SIZES = {"features.conv1": 14 * 14, "features.conv2": 8 * 14 * 14, "classifier": 24}


@pytest.fixture(scope="module")
def trained(digits_data, make_context):
    """A small convolutional network trained on digits, and a context that keeps what was measured."""
    context, kept = make_context(digits_data, step="train", side=14), {}

    def keep(name, make):
        return kept[name] if name in kept else kept.setdefault(name, make())

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = models.small_cnn(num_classes=10, in_channels=1, input_side=14, channels=(8, 8, 16, 24), n_poolings=2)
    return Train(epochs=3, lr=5e-3).apply(network, context), dataclasses.replace(context, keep=keep)


@pytest.fixture
def small():
    """A transformer for the toy data."""
    torch.manual_seed(0)
    return models.small_vit(patch=2, depth=2, heads=2, width=16, num_classes=4, input_side=8)


def allot(model, context, budget, **options):
    """Return the network and the table of its sensitivities."""
    context = dataclasses.replace(context, findings=Findings())
    network = ActBitsBudget(budget=budget, **options).apply(model, context)
    return network, pd.DataFrame(context.findings.tables["act_sensitivity"])


def widths(network):
    return {name: held.bits for name, _, held in constraints_on_inputs(network) if isinstance(held, InputGrid)}


def test_the_budget_is_kept_by_activations_and_each_layer_has_the_grid_of_its_width(trained):
    model, context = trained
    for budget in (8, 5, 3.2):
        network, table = allot(model, context, budget)
        chosen = table[table.chosen]
        assert dict(zip(chosen.layer, chosen.bits, strict=True)) == widths(network)
        assert (chosen.activations * chosen.bits).sum() <= budget * chosen.activations.sum()
        for bits in set(chosen.bits):
            alone = QuantizeInputs(bits=bits).apply(model, context)
            for name in chosen.layer[chosen.bits == bits]:
                assert grid_on(network.get_submodule(name)) == grid_on(alone.get_submodule(name))
    sizes = dict(zip(chosen.layer, chosen.activations, strict=True))
    assert SIZES.items() <= sizes.items() and len(sizes) == len(list(weight_layers(model)))
    assert all(grid_on(layer) is None for _, layer in weight_layers(model))


def test_its_loss_is_never_above_that_of_one_width_for_all(trained):
    model, context = trained
    mixed = []
    for bits in (2, 3, 4, 6):
        uniform = QuantizeInputs(bits=bits).apply(model, context)
        allotted, table = allot(model, context, bits)
        assert context.validate(allotted).loss <= context.validate(uniform).loss + 1e-12
        mixed.append(len(set(table.bits[table.chosen])) > 1)
    assert any(mixed)


def test_the_table_holds_what_one_layer_alone_costs(trained):
    model, context = trained
    _, table = allot(model, context, 4)
    name = "features.conv2"
    alone = QuantizeInputs(bits=3, layers={"features.conv[!2]": "skip", "classifier": "skip"}).apply(model, context)
    row = table[(table.layer == name) & (table.bits == 3)].iloc[0]
    found, reference = context.validate(alone), context.validate(model)
    assert widths(alone) == {name: 3}
    assert row.loss_increase == pytest.approx(found.loss - reference.loss, abs=1e-9)
    assert row.accuracy_val == found.quality


def test_weights_on_grids_and_what_was_on_the_inputs_before(trained):
    model, context = trained
    both = QuantizeInputs(bits=8).apply(Quantize(bits=4).apply(model, context), context)
    fresh = dataclasses.replace(context, keep=lambda name, make: make())
    network, table = allot(both, fresh, 6)
    assert widths(network) == dict(zip(table.layer[table.chosen], table.bits[table.chosen], strict=True))
    assert set(widths(both).values()) == {8}
    assert all(len(layer.weight[0].unique()) <= 16 for _, layer in weight_layers(network))


def test_a_layer_has_a_budget_of_its_own_or_none(trained):
    model, context = trained
    fresh = dataclasses.replace(context, keep=lambda name, make: make())
    own = {"features.conv1": "skip", "features.conv2": 5, "classifier": 32}
    network, table = allot(model, fresh, 3, layers=own)
    assert widths(network)["features.conv2"] == 4  # the widest of 8-6-4-3-2 within 5
    assert "features.conv1" not in widths(network) and "classifier" not in widths(network)
    assert not {*own} & {*table.layer} and (table.activations * table.bits)[table.chosen].sum() <= 3 * sum(
        table.activations[table.chosen]
    )
    alone = ActBitsBudget(budget=32, layers={"features.conv2": 4}).apply(model, fresh)
    assert widths(alone) == {"features.conv2": 4}


def test_what_attention_multiplies_has_a_width_too_and_all_comes_back_from_the_file(small, toy_data, make_context):
    context = make_context(toy_data)
    network, table = allot(small, context, 5)
    products = [name for name in table.layer.unique() if name.endswith("(products)")]
    assert products == ["blocks.0.attention (products)", "blocks.1.attention (products)"]
    for name in products:
        grids = product_grids_on(network.get_submodule(name.removesuffix(" (products)"))).grids
        assert {grid.bits for grid in grids} == set(table.bits[table.chosen & (table.layer == name)])
    # Of 16 tokens, two heads of 8: queries, keys and values, and the shares of each head.
    assert set(table.activations[table.layer.isin(products)]) == {3 * 16 * 16 + 2 * 16 * 16}
    fresh = models.small_vit(patch=2, depth=2, heads=2, width=16, num_classes=4, input_side=8)
    back = decode(encode(network), fresh)
    images = context.example()
    with torch.no_grad():
        assert torch.equal(back.eval()(images), network.eval()(images))
    plain, _ = allot(small, context, 5, products=False)
    assert all(product_grids_on(module) is None for module in plain.modules())


def test_a_layer_that_runs_twice_takes_as_many_in(toy_data, make_context):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(1, 1, 3, padding=1), nn.Linear(64, 4)
            self.unused = nn.Linear(3, 3)

        def forward(self, images):
            return self.head(self.conv(self.conv(images)).flatten(1))

    _, table = allot(Twice(), make_context(toy_data), 4)
    assert dict(zip(table.layer, table.activations, strict=True)) == {"conv": 128, "head": 64}


def test_later_rounds_leave_the_grids_as_they_are(trained):
    model, context = trained
    once, _ = allot(model, context, 4, layers={"features.conv1": 8})
    silent = dataclasses.replace(context, validate=None, evaluate=None, findings=Findings())
    again = ActBitsBudget(budget=4, layers={"features.conv1": 8}).at_round(2, 2).apply(once, silent)
    assert list(widths(again).items()) == list(widths(once).items()) and silent.findings.is_empty
    assert np.isfinite(context.validate(again).loss)


def test_it_says_once_what_it_leaves(small, toy_data, make_context):
    context = make_context(toy_data)
    ActBitsBudget(budget=5, layers={"classifier": "skip"}).apply(small, context)
    quantized = make_context(toy_data)
    QuantizeInputs(bits=8, layers={"classifier": "skip"}).apply(small, quantized)
    assert context.findings.words == quantized.findings.words
    assert context.findings.metrics == quantized.findings.metrics


def test_a_skipped_layer_keeps_the_grid_that_it_had(trained):
    model, context = trained
    before = QuantizeInputs(bits=8).apply(model, context)
    fresh = dataclasses.replace(context, keep=lambda name, make: make())
    network, table = allot(before, fresh, 4, layers={"features.conv1": "skip"})
    assert grid_on(network.features.conv1) == grid_on(before.features.conv1)
    assert "features.conv1" not in set(table.layer) and max(table.bits[table.chosen]) <= 8


def test_a_module_and_what_multiplies_within_it_have_one_budget(toy_data, make_context):
    class Inner(nn.Module):
        def forward(self, values):
            return values @ values.transpose(1, 2)

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.head = Inner(), nn.Linear(8, 4)

        def forward(self, images):
            values = images[:, 0]
            return self.head((self.inner(values) @ values).mean(1))

    with pytest.raises(ValueError, match="inner multiplies within the network: give both one value"):
        ActBitsBudget(budget=4, layers={"inner": 8}).apply(Outer(), make_context(toy_data))


def test_what_was_measured_for_other_patterns_is_not_taken(trained):
    one, other = ({"features.conv2": 2.0, "features.*": "skip"}, {"features.*": "skip", "features.conv2": 2.0})
    assert ActBitsBudget(budget=4, layers=one)._how() != ActBitsBudget(budget=4, layers=other)._how()
    assert ActBitsBudget(budget=4, layers=one)._how() == ActBitsBudget(budget=5, layers=dict(one))._how()
