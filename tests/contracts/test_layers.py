"""What `layers` owes in every stage of conf/stage: values for single layers, some left out, the first that matches."""

from pathlib import Path

import pytest
import torch
import yaml

from effbench.compression.constraints.described import describe
from effbench.compression.constraints.layer_inputs import grid_on
from effbench.compression.constraints.stack import bake, quantizer_of
from effbench.compression.layers import weight_layers, weight_of
from effbench.plan.blueprint import Blueprint
from effbench.plan.width_budget import WidthBudget
from effbench.stages.act_bits_budget import ActBitsBudget
from effbench.stages.bits_budget import BitsBudget
from effbench.stages.prune_channels import PruneChannels

CONF = Path(__file__).parents[2] / "conf"
LAYERED = (
    "act_bits_budget",
    "bits_budget",
    "low_rank",
    "prune",
    "prune_channels",
    "prune_nm",
    "quantize",
    "quantize_inputs",
    "share",
)
KINDS = {path.stem: yaml.safe_load(path.read_text())["_target_"] for path in (CONF / "stage").glob("*.yaml")}
OTHERS = sorted(name for name, target in KINDS.items() if Blueprint(target).callable.LAYER_FIELD is None)
NAMES = ["0", "4", "5", "6", "7", "9"]
CHOSEN = "6"
"""A hidden layer: its channels can be removed, its rank lowered."""


@pytest.fixture(params=LAYERED)
def name(request):
    return request.param


@pytest.fixture
def stage_at(name, instantiate):
    """Return what makes the stage at one value for all layers and others for some, each layer by itself."""

    def make(value, layers=None):
        stage = instantiate(name)
        alone = {"scope": "layer"} if hasattr(stage, "scope") else {}
        return instantiate(name, **{stage.LAYER_FIELD: value, "layers": layers or {}, **alone})

    return make


def facts(stage, model, layer):
    """Return what a stage can have done to a layer: as many output channels, one width, or weights and constraints."""
    if isinstance(stage, PruneChannels):
        return len(weight_of(model.get_submodule(layer)))
    if isinstance(stage, BitsBudget):
        grid = quantizer_of(model.get_submodule(layer), "weight")
        return None if grid is None else grid.bits
    if isinstance(stage, ActBitsBudget):
        held = grid_on(model.get_submodule(layer))
        return None if held is None else held.bits
    tensors = {n: p for n, p in bake(model).named_parameters() if n.startswith(f"{layer}.")}
    return (
        {name: (tuple(tensor.shape), tensor.detach().double().sum().item()) for name, tensor in tensors.items()},
        [description for description in describe(model) if description["module"] == layer],
    )


@pytest.mark.extended
def test_these_are_all_stages_with_a_layer_field(instantiate, layer_values):
    with_field = [path.stem for path in (CONF / "stage").glob("*.yaml") if instantiate(path.stem).LAYER_FIELD]
    assert set(with_field) >= set(LAYERED)
    assert all(len(set(layer_values(name))) == 2 for name in LAYERED)


@pytest.mark.matrix(fast=2)
def test_a_value_for_a_layer_does_what_it_does_for_all(
    name, stage_at, layer_values, toy_data, toy_network, make_context
):
    one, other = layer_values(name)
    found = stage_at(other, {CHOSEN: one}).apply(toy_network(), make_context(toy_data))
    mild, strong = (stage_at(value).apply(toy_network(), make_context(toy_data)) for value in (one, other))
    stage = stage_at(other)
    if isinstance(stage, WidthBudget):  # what the others have is allotted anew
        assert facts(stage, found, CHOSEN) == one
        assert all(facts(stage, found, layer) is not None for layer in NAMES)
        return
    assert facts(stage, found, CHOSEN) == facts(stage, mild, CHOSEN) != facts(stage, strong, CHOSEN)
    for layer in NAMES:
        if layer != CHOSEN:
            assert facts(stage, found, layer) == facts(stage, strong, layer), layer


def test_a_skipped_layer_stays_and_the_share_acted_on_is_noted(
    name, stage_at, layer_values, toy_data, toy_network, make_context
):
    context = make_context(toy_data, step=f"{name}/1")
    model, stage = toy_network(), stage_at(layer_values(name)[-1], {CHOSEN: "skip"})
    found = stage.apply(model, context)
    assert facts(stage, found, CHOSEN) == facts(stage, model, CHOSEN)
    assert facts(stage, found, "5") != facts(stage, model, "5")
    sizes = {layer: weight_of(module).numel() for layer, module in weight_layers(model)}
    expected = 1 - sizes[CHOSEN] / sum(sizes.values())
    assert context.findings.metrics[f"acted_share/{name}/1"] == pytest.approx(expected)


@pytest.mark.matrix(fast=3)
def test_where_every_layer_has_its_value_no_share_is_noted(
    name, stage_at, layer_values, toy_data, toy_network, make_context
):
    for layers in ({}, {CHOSEN: layer_values(name)[0]}):
        context = make_context(toy_data)
        stage_at(layer_values(name)[-1], layers).apply(toy_network(), context)
        assert not [metric for metric in context.findings.metrics if metric.startswith("acted_share")]


@pytest.mark.matrix(fast=3)
def test_of_several_patterns_the_first_counts(name, stage_at, layer_values, toy_data, toy_network, make_context):
    one, other = layer_values(name)
    model, stage = toy_network(), stage_at(other)
    only = stage_at(other, {CHOSEN: one, "*": "skip"}).apply(model, make_context(toy_data))
    none = stage_at(other, {"*": "skip", CHOSEN: one}).apply(model, make_context(toy_data))
    assert facts(stage, only, CHOSEN) != facts(stage, model, CHOSEN)
    for layer in NAMES:
        assert facts(stage, none, layer) == facts(stage, model, layer), layer
        assert layer == CHOSEN or facts(stage, only, layer) == facts(stage, model, layer), layer
    images = next(toy_data.batches("val", side=8, batch_size=5))[0]
    with torch.no_grad():
        assert torch.equal(none.eval()(images), model.eval()(images))


def test_a_pattern_that_meets_no_layer_lists_those_there_are(
    name, stage_at, layer_values, toy_data, toy_network, make_context
):
    stage = stage_at(layer_values(name)[-1], {"head": "skip"})
    with pytest.raises(
        ValueError, match=r"^layers: the pattern head meets no layer of the network; there are 0, 4, 5, 6, 7, 9$"
    ):
        stage.apply(toy_network(), make_context(toy_data))


def test_a_value_that_the_stage_does_not_take_is_none_of_a_layer_either(name, stage_at, layer_values, instantiate):
    field = instantiate(name).LAYER_FIELD
    message = rf"^stage\.{name}\.layers={{{CHOSEN}: -1}}: must be skip or a {field}: {field}=-1: must be "
    with pytest.raises(ValueError, match=message):
        stage_at(layer_values(name)[-1], {CHOSEN: -1})


@pytest.mark.parametrize("other", OTHERS)
def test_a_stage_that_acts_on_no_single_layer_refuses_them(other, instantiate):
    with pytest.raises(ValueError, match=r"layers={'6': 'skip'}: must be empty, as \w+ acts on no layer alone$"):
        instantiate(other, layers={CHOSEN: "skip"})


def test_sparsity_is_noted_where_layers_have_their_own(instantiate, toy_data, toy_network, make_context):
    context = make_context(toy_data, step="prune")
    pruned = instantiate("prune", ratio=0.5, layers={"9": "skip"}).apply(toy_network(), context)
    weights = [weight_of(layer) for _, layer in weight_layers(pruned)]
    zeros = sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)
    assert context.findings.metrics["sparsity/prune"] == zeros < 0.5
