"""What every network in conf/model must do."""

import copy
import dataclasses
import importlib
import inspect
import sys
from pathlib import Path

import pytest
import torch
import yaml

from effbench.codec import decode, encode
from effbench.measure.compute import count_cost
from effbench.measure.size import float32_bytes
from effbench.plan.blueprint import Blueprint
from effbench.stages.prune_channels import PruneChannels

CONF = Path(__file__).parents[2] / "conf"
SIDE = 32


@dataclasses.dataclass(frozen=True)
class Case:
    """A network of conf/model, with more options."""

    stem: str
    options: dict = dataclasses.field(default_factory=dict)

    def __str__(self):
        return ",".join([self.stem, *(f"{name}={value}" for name, value in self.options.items())])

    def node(self):
        return {**yaml.safe_load((CONF / "model" / f"{self.stem}.yaml").read_text()), **self.options}


KNOBS = [
    Case("small_cnn", {"kernel": "3x1", "head": "linear", "hidden": "40-20"}),
    Case("small_cnn", {"conv": "separable", "bands": "both", "shortcut": True}),
    Case("small_cnn", {"conv": "shuffle", "head": "conv"}),
    Case("small_cnn", {"conv": "grouped", "groups": 2, "shortcut": True, "bands": "low"}),
    Case("small_cnn", {"octave": 0.5, "kernel": 5}),
    Case("small_cnn", {"octave": 0.25, "shortcut": True, "bands": "both", "head": "flatten"}),
]
"""Together every knob of the small network at another value than its default, and what it stands beside."""
OTHERS = [
    Case("shufflenet_v1", {"groups": 2, "scale": 0.5, "shuffle": False, "shortcut": False}),
    Case("mobilenet_v1", {"pooling": "2-4-6", "bands": "both"}),
    Case("lenet_5", {"hidden": 80, "bands": "both"}),
    Case("lenet_300_100", {"hidden": "80-40", "bands": "low"}),
    Case("torchvision", {"name": "mnasnet1_0", "alpha": 0.5}),
]
CASES = [*map(Case, sorted(path.stem for path in (CONF / "model").glob("*.yaml"))), *KNOBS, *OTHERS]


def factory_and_options(config):
    node = config.node()
    del node["tasks"]
    node.pop("least_side", None)
    module, _, name = node.pop("_target_").rpartition(".")
    return getattr(importlib.import_module(module), name), node


def build(config, in_channels, num_classes=10, side=SIDE):
    factory, options = factory_and_options(config)
    if "input_side" in inspect.signature(factory).parameters:
        options["input_side"] = side
    torch.manual_seed(0)
    return factory(**options, in_channels=in_channels, num_classes=num_classes)


def tasks_of(config):
    """Return the tasks that a network is for, by their names."""
    names = config.node()["tasks"]
    targets = {name: yaml.safe_load((CONF / "task" / f"{name}.yaml").read_text())["_target_"] for name in names}
    return {name: Blueprint(target).build() for name, target in targets.items()}


def loss_of(task, outputs):
    """Return a task's loss on any targets that fit the outputs (class 0, and 1 on the first example)."""
    targets = torch.zeros(len(outputs), *outputs.shape[2:], dtype=torch.int64)
    targets[0] = 1
    return task.loss(outputs, targets)


@pytest.fixture(params=CASES, ids=str)
def config(request):
    return request.param


@pytest.fixture(params=[1, 3], ids=["grey", "colour"])
def in_channels(request):
    return request.param


def test_the_yaml_leaves_axes_and_data_alone(config):
    factory, options = factory_and_options(Case(config.stem))
    parameters = inspect.signature(factory).parameters
    assert set(options) <= set(parameters)
    assert not set(options) & {"alpha", "pooling", "num_classes", "in_channels", "input_side"}
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in parameters.values())


def test_it_is_for_tasks_that_there_are(config):
    assert tasks_of(config)
    assert {name: task.name for name, task in tasks_of(config).items()} == {name: name for name in tasks_of(config)}


def test_its_file_has_a_version(config):
    factory, _ = factory_and_options(config)
    assert type(sys.modules[factory.__module__].VERSION) is int


@pytest.mark.matrix(fast=5)
def test_its_outputs_are_what_its_tasks_ask_for(config, in_channels, make_toy_data):
    model = build(config, in_channels, num_classes=4).to("meta").eval()
    outputs = model(torch.empty(1, in_channels, SIDE, SIDE, device="meta"))
    for task in tasks_of(config).values():
        task.check_outputs(outputs, make_toy_data(), side=SIDE)
        assert model(torch.empty(2, in_channels, SIDE, SIDE, device="meta")).shape == (2, *outputs.shape[1:])


@pytest.mark.matrix(fast=10)
def test_gradients_reach_every_parameter(config, in_channels):
    model = build(config, in_channels, num_classes=3).train()
    images = torch.randn(4, in_channels, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    outputs = model(images)
    sum(loss_of(task, outputs) for task in tasks_of(config).values()).backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.abs().sum() > 0 for gradient in gradients)


def test_the_same_seed_gives_the_same_network(config):
    first, second = (build(config, 1).state_dict() for _ in range(2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.matrix(fast=6)
def test_a_copy_and_a_reloaded_state_give_the_same_outputs(config, in_channels, tmp_path):
    model = build(config, in_channels).eval()
    images = torch.randn(1, in_channels, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    duplicate = copy.deepcopy(model)
    torch.save(model.state_dict(), tmp_path / "state.pt")
    reloaded = build(config, in_channels).eval()
    with torch.no_grad():
        for parameter in reloaded.parameters():
            parameter.zero_()
        reloaded.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        expected = model(images)
        assert torch.equal(duplicate(images), expected)
        assert torch.equal(reloaded(images), expected)


@pytest.mark.matrix(fast=2)
def test_it_loses_channels_and_comes_back_from_its_file(config, toy_data, make_context):
    model = build(config, 1, toy_data.n_classes).eval()
    pruned = PruneChannels(ratio=0.5).apply(model, make_context(toy_data, side=SIDE)).eval()
    before, after = (count_cost(network, (1, SIDE, SIDE)) for network in (model, pruned))
    assert after.macs < 0.7 * before.macs
    assert after.params < 0.8 * before.params
    blob = encode(pruned)
    assert len(blob) < 0.8 * len(encode(model))
    restored = decode(blob, build(config, 1, toy_data.n_classes)).eval()
    images = torch.randn(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(restored(images), pruned(images))


@pytest.mark.matrix(fast=3)
def test_every_operation_is_known_to_the_counter(config, in_channels):
    model = build(config, in_channels)
    cost = count_cost(model, (in_channels, SIDE, SIDE))
    assert cost.unknown == ()
    assert 0 < cost.macs_effective <= cost.macs
    assert cost.params == sum(parameter.numel() for parameter in model.parameters())
    assert cost.by_layer[["macs", "params"]].sum().tolist() == [cost.macs, cost.params]
    assert float32_bytes(model) >= 4 * cost.params


STAGES = ["prune", "prune_nm", "low_rank", "quantize", "quantize_inputs", "share", "precision"]
"""Stages that make any network smaller; `prune_channels` is above, slower ones have grids as `quantize` has."""


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("config", KNOBS, ids=str)
def test_every_stage_acts_on_it_and_its_file_gives_it_back(config, instantiate, toy_data, make_context):
    tiny = {"channels": [8, 8, 8, 8], "n_poolings": 1, **({"hidden": "10-6"} if "hidden" in config.options else {})}
    config = Case(config.stem, {**config.options, **tiny})
    context = make_context(toy_data)
    model = build(config, 1, toy_data.n_classes, side=toy_data.side).eval()
    images = torch.randn(2, 1, toy_data.side, toy_data.side, generator=torch.Generator().manual_seed(0))
    for name in [*STAGES, "fold_batch_norm"]:
        acted = instantiate(name).apply(model, context).eval()
        restored = decode(encode(acted), build(config, 1, toy_data.n_classes, side=toy_data.side)).eval()
        with torch.no_grad():
            outputs = acted(images.to(next(acted.parameters()).dtype))
            assert torch.equal(restored(images.to(outputs.dtype)), outputs), name
        assert count_cost(acted, (1, toy_data.side, toy_data.side)).unknown == (), name


def test_shuffled_channels_that_are_added_again_stay_and_are_named(toy_data, make_context):
    context = make_context(toy_data, side=SIDE)
    model = build(Case("small_cnn", {"conv": "shuffle", "shortcut": True}), 1, toy_data.n_classes)
    pruned = PruneChannels(ratio=0.5).apply(model, context)
    kept = {row["layer"]: row["reason"] for row in context.findings.tables["kept_whole"]}
    assert set(kept) == {
        f"features.{name}" for name in ("conv2", "residual3.layers.conv3", "conv4", "residual5.layers.conv5")
    }
    assert all("a channel shuffle takes them" in reason for reason in kept.values())
    assert pruned.features.conv6.out_channels == 32
