"""What several contracts share: every stage of conf/stage as a recipe has it, and a network that all of them change."""

import copy
import functools
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from effbench.config.members import declared_axes
from effbench.config.overrides import parse, values_of
from effbench.config.recipe import make_stage
from effbench.models import small_vit

CONF = Path(__file__).parents[2] / "conf"


def axes_of(stage):
    """Yield the axes that set a field of a stage."""
    for axis in declared_axes().values():
        targets = [axis.target, *axis.also]
        if "stage" in axis.readers and stage in [
            *(target.split(".")[0] for target in targets),
            *axis.replaces.values(),
        ]:
            yield axis


def examples_of(axis):
    """Return the values of an axis's example, as the command line reads them."""
    return [axis.check(value) for value in values_of(parse([f"{axis.name}={axis.example}"])[0])]


@pytest.fixture(scope="session")
def instantiate():
    """Return what makes a stage by its name in conf/stage, its axes at the last of their examples, or at `fields`.

    What is done to no network by default is switched on.
    """

    @functools.cache
    def node_of(name):
        tree = OmegaConf.create(
            {
                "train": OmegaConf.load(CONF / "train" / "default.yaml"),
                "finetune": OmegaConf.load(CONF / "config.yaml").finetune,
                "stage": {path.stem: OmegaConf.load(path) for path in (CONF / "stage").glob("*.yaml")},
            }
        )
        tree.train.epochs, tree.finetune.epochs = 2, 1
        tree.train.precision = "float32"  # while planning, "auto" becomes one or the other
        return OmegaConf.to_container(tree.stage[name], resolve=True)

    def make(name, **fields):
        node = copy.deepcopy(node_of(name))
        given = {axis.target.split(".")[1]: examples_of(axis)[-1] for axis in axes_of(name)}
        switched_on = {"enabled": True} if "enabled" in node else {}
        return make_stage(name, {**node, **switched_on, **given, **fields})

    return make


@pytest.fixture(scope="session")
def layer_values():
    """Return two values for the single layers of a stage: layer_values("quantize") -> (8, 2)."""

    def find(name):
        (axis,) = (axis for axis in axes_of(name) if axis.modifies is None)
        examples = examples_of(axis)
        return examples[0], examples[-1]

    return find


FOR_TRANSFORMERS = {"merge_tokens", "prune_heads"}
"""Stages that act on what vision transformers alone have."""


@pytest.fixture(scope="session")
def toy_transformer():
    """Return a factory of small vision transformers for the toy data."""

    def make(seed=0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return small_vit(patch=2, depth=5, heads=2, width=16, num_classes=4, input_side=8)

    return make


@pytest.fixture(scope="session")
def network_for(toy_network, toy_transformer):
    """Return the factory of networks that stages are tried on, by their names."""
    return lambda *names: toy_transformer if FOR_TRANSFORMERS & {*names} else toy_network


@pytest.fixture(scope="session")
def toy_network():
    """Return a factory of small networks for the toy data, with layers that can be removed (twice two of them)."""

    def make(seed=0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Sequential(
                nn.Conv2d(1, 6, 3, padding=1),
                nn.BatchNorm2d(6),
                nn.ReLU(),
                nn.MaxPool2d(2),
                *(nn.Conv2d(6, 6, 3, padding=1) for _ in range(4)),
                nn.Flatten(),
                nn.Linear(6 * 16, 4),
            )

    return make
