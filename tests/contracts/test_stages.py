"""What every stage in conf/stage owes: run for each of them, with a sensible value of its axis."""

import copy
import dataclasses
import functools
import importlib
import json
import pkgutil
from pathlib import Path

import pytest
import torch

import effbench.stages
from effbench.codec import decode, encode
from effbench.compression.constraints.described import describe
from effbench.compression.constraints.stack import bake
from effbench.compression.structure.edits import edits_of
from effbench.plan.chain import Step
from effbench.plan.keys import prefix_keys
from effbench.plan.stage import Stage
from effbench.stages.constrain import Constrain
from effbench.stages.rate import Rate
from effbench.stages.remove_dead import RemoveDead

CONF = Path(__file__).parents[2] / "conf"


STAGES = sorted(path.stem for path in (CONF / "stage").glob("*.yaml"))


@pytest.fixture(params=STAGES)
def name(request):
    return request.param


@pytest.fixture
def stage(name, instantiate):
    return instantiate(name)


@pytest.fixture(scope="module")
def made(instantiate, toy_data, network_for, make_context):
    """Return what a stage of that name makes of its network: one for all tests, of which none may change it."""

    @functools.cache
    def made_of(name, network):
        context = make_context(toy_data, snapshot=lambda _: network(seed=99))
        return instantiate(name).apply(network(), context).eval()

    return lambda name, beside="": made_of(name, network_for(name, beside))


def snapshot(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same_bits(one, other):
    as_bits = lambda tensor: tensor.contiguous().view(torch.uint8) if tensor.numel() else tensor  # noqa: E731
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype
        and one[name].shape == other[name].shape
        and torch.equal(as_bits(one[name].reshape(-1)), as_bits(other[name].reshape(-1)))
        for name in one
    )


def test_there_are_stages():
    assert {"train", "finetune", "prune", "quantize"} <= set(STAGES)


def test_is_a_frozen_keyword_only_dataclass_with_a_version(stage):
    kind = type(stage)
    assert issubclass(kind, Stage)
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    assert all(field.kw_only for field in dataclasses.fields(kind))
    assert type(kind.VERSION) is int
    assert kind.__doc__


def test_its_fields_make_a_key(stage):
    fields = dataclasses.asdict(stage)
    assert json.loads(json.dumps(fields)) == fields
    assert type(stage)(**fields) == stage
    assert len(prefix_keys({}, [Step("stage", stage)])) == 2
    identity = stage.identity()
    assert json.loads(json.dumps(identity)) == identity
    assert "effbench" not in json.dumps(identity)  # a module may move without another key
    assert "source" not in identity


def test_classes_of_stages_are_told_apart_by_their_names_alone():
    """As keys hold no module's path, two classes of effbench.stages may never have one name."""
    kinds = [
        value
        for module in pkgutil.iter_modules(effbench.stages.__path__)
        for value in vars(importlib.import_module(f"effbench.stages.{module.name}")).values()
        if isinstance(value, type) and issubclass(value, Stage) and value.__module__ == f"effbench.stages.{module.name}"
    ]
    assert len(kinds) >= 14
    assert len({kind.__name__ for kind in kinds}) == len(kinds)
    assert not any(kind.__name__ == "Stage" for kind in kinds)


@pytest.mark.matrix(fast=2)
def test_the_model_it_is_given_stays_as_it_is(name, stage, toy_data, network_for, make_context):
    model = network_for(name)().train()
    next(module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)).eval()
    state, modes = snapshot(model), [module.training for module in model.modules()]
    kinds = [type(module) for module in model.modules()]
    result = stage.apply(model, make_context(toy_data))
    assert result is not model
    assert same_bits(model.state_dict(), state)
    assert [type(module) for module in model.modules()] == kinds
    assert [module.training for module in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())
    own = {tensor.data_ptr() for tensor in model.state_dict().values()}
    assert not own & {tensor.data_ptr() for tensor in result.state_dict().values()}


@pytest.mark.matrix(fast=2)
def test_changes_the_model_it_returns(name, stage, toy_data, network_for, make_context):
    model = network_for(name)()
    if isinstance(stage, RemoveDead):  # which is for networks that have something dead
        model[9].weight.data[:, -16:] = 0
    result = stage.apply(model, make_context(toy_data))
    assert not same_bits(bake(result).state_dict(), model.state_dict()) or is_changed(result, model)


def is_changed(result, model):
    return describe(result) != describe(model) or edits_of(result) != edits_of(model)


@pytest.mark.matrix(fast=2)
def test_a_seed_decides_every_bit_and_the_global_generator_has_no_say(name, stage, toy_data, network_for, make_context):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = stage.apply(network_for(name)(), make_context(toy_data))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    other = stage.apply(network_for(name)(), make_context(toy_data))
    assert same_bits(one.state_dict(), other.state_dict())


@pytest.mark.matrix(fast=3)
def test_the_result_runs(name, made, toy_data):
    model = made(name)
    with torch.no_grad():
        logits = model(next(toy_data.batches("val", side=8, batch_size=5))[0])
    assert logits.shape == (5, 4)
    assert logits.isfinite().all()
    assert all(p.device.type == "cpu" for p in model.parameters())


@pytest.mark.matrix(fast=4)
@pytest.mark.parametrize("coder", ["none", "huffman", "ans", "context"])
def test_the_result_comes_back_from_its_file_bit_by_bit(name, made, network_for, coder):
    model = made(name)
    restored = decode(encode(model, coder=coder), network_for(name)(seed=1))
    assert same_bits(restored.state_dict(), bake(model).state_dict())


LEAVES_THE_SAME_KIND = {
    **dict.fromkeys(["distill", "distill_finetune", "early", "finetune", "rewind"], "train"),
    "act_bits_budget": "quantize_inputs",
    "bits_budget": "quantize",
    "prune_nm": "prune",
    "remove_dead": "prune_channels",
}
"""Stages that leave a network of a kind that another leaves as well: weights, grids, masks, smaller layers."""


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("later", STAGES)
@pytest.mark.parametrize("name", [name for name in STAGES if name not in LEAVES_THE_SAME_KIND])
def test_any_stage_may_follow_and_leaves_the_earlier_result_alone(
    name, later, made, instantiate, toy_data, network_for, make_context
):
    earlier = made(name, later)
    inputs = next(toy_data.batches("val", side=8, batch_size=5))[0]
    state = snapshot(earlier)
    with torch.no_grad():
        expected = earlier(inputs)
    following = instantiate(later)
    try:
        model = following.apply(earlier, make_context(toy_data, step=later)).eval()
    except ValueError as refusal:
        # Only one that brings back an earlier network may find that this one has had another form since, and only one
        # that is asked for a file of some length that what is left of the network is too small, or quantised already.
        brings_back = following.asks_for and "form" in str(refusal)
        is_too_small = isinstance(following, Rate | Constrain) and (
            "at least" in str(refusal) or "already" in str(refusal)
        )
        assert brings_back or is_too_small
        assert same_bits(earlier.state_dict(), state)
        return
    with torch.no_grad():
        assert torch.equal(earlier(inputs), expected)
        logits = model(inputs)
        assert torch.equal(bake(model)(inputs), logits)
        assert torch.equal(copy.deepcopy(model)(inputs), logits)
    assert same_bits(earlier.state_dict(), state)
    restored = decode(encode(model), network_for(name, later)(seed=1))
    assert same_bits(restored.state_dict(), bake(model).state_dict())
