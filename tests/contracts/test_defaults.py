"""Defaults pinned beside versions: keys leave defaults out, so a default that changes is another version.

What a key does not say must never change silently: results that were kept under it would be taken for new ones.
"""

import dataclasses
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest
import yaml

import effbench.stages
from effbench.plan.blueprint import Blueprint
from effbench.plan.stage import Stage

CONF = Path(__file__).parents[2] / "conf"
MESSAGE = "changing a default changes results of equal keys: bump VERSION and this table"

GRID = {
    "scheme": "symmetric",
    "granularity": "channel",
    "range": "max",
    "percentile": 99.9,
    "scale": "real",
}
TRAINING = {
    "batch_size": 64,
    "weight_decay": 0.01,
    "precision": "float32",
    "layout": "channels_last",
    "fraction": 1.0,
    "optimizer": None,
    "decay_norms": False,
    "scheduler": None,
    "schedule_by": None,
    "warm_up_epochs": None,
    "loss": None,
    "label_smoothing": 0.0,
    "augmentation": None,
    "mixup": None,
    "cutmix": None,
    "clip": None,
    "ema": None,
    "stop_after": None,
    "keep": "last",
    "freeze": None,
}
LESSON = {
    "labels": None,
    "labels_are": "auto",
    "labels_digest": None,
    "temperature": 4.0,
    "teacher": "reference",
    "teacher_alpha": None,
    "teacher_fraction": None,
    "teacher_epochs": None,
    "teacher_seed": None,
    "augment": None,
    "pool": 0,
    "hints": "none",
    "hint_epochs": 2,
}
PRUNING = {
    "examples": 250,
    "criterion": "magnitude",
    "scope": None,  # for criterion=magnitude it is what "global" was, under the same key
    "granularity": "weight",
    "schedule": "at_once",
    "ramp": 0.6,
    "every": 10,
    "regrow": False,
    "ladder": [],
}
SHARING = {
    "values_conv": 0,
    "values_linear": 0,
    "values_bias": 0,
    "reassign": 0,
    "precision": "float32",
    "initial": "linear",
}
STAGES = {
    "BitsBudget": (2, {**GRID, "by": "bits", "widths": "8-6-4-3-2"}),
    "Distill": (3, {**TRAINING, **LESSON}),
    "FoldBatchNorm": (1, {"enabled": False}),
    "Load": (1, {}),
    "LowRank": (1, {"scheme": "tucker", "by": "share"}),
    "MergeTokens": (1, {"proportional": True}),
    "Precision": (1, {}),
    "Prune": (3, PRUNING),
    "PruneBlocks": (2, {}),
    "PruneChannels": (3, {"criterion": "l1", "scope": "layer"}),
    "PruneHeads": (1, {"criterion": "gradient"}),
    "PruneNM": (3, {"criterion": "magnitude", "examples": 250}),
    "Quantize": (2, {**GRID, "rounding": "nearest", "examples": 1000, "tables": "auto"}),
    "Constrain": (2, {"rate": 32, "coder": "context", "small": 0.01, "biases": True}),
    "Rate": (
        1,
        {
            "coder": "context",
            "allocation": "sensitivity",
            "rounding": "feedback",
            "trellis": True,
            "price": 0.0,
            "norms": "reestimated",
            "small": 0.01,
            "data_free": False,
            "examples": 300,
        },
    ),
    "QuantizeInputs": (3, {"range": "max", "percentile": 99.9, "scale": "real", "examples": 1000, "products": "auto"}),
    "ReplaceConvolutions": (1, {"groups": 4, "first": False}),
    "RemoveDead": (2, {}),
    "Rewind": (1, {"to": "init"}),
    "Share": (2, SHARING),
    "Train": (3, TRAINING),
}
"""Of each class in effbench.stages: its VERSION, and its defaults beside `layers`, which is empty in all of them."""

SMALL_CNN = {
    "alpha": 1.0,
    "kernel": 3,
    "conv": "standard",
    "groups": 4,
    "shuffle": False,
    "shortcut": False,
    "octave": 0.0,
    "bands": "none",
    "pooling": "even",
    "head": "gap",
    "hidden": 500,
    "channels": (8, 16, 16, 32, 32, 64),
    "n_poolings": 2,
}
SMALL_SEGMENTER = {
    "alpha": 1.0,
    "pooling": "even",
    "out_rho": 1.0,
    "upsample": "bilinear",
    "channels": (8, 8, 16, 16, 32, 32, 64),
    "n_poolings": 3,
}
FACTORIES = {
    "lenet_300_100": (1, {"hidden": (300, 100), "bands": "none"}),
    "lenet_5": (1, {"hidden": 500, "bands": "none", "activation": "none"}),
    "mobilenet_v1": (1, {"alpha": 1.0, "pooling": "1-3-5-7-13", "bands": "none"}),
    "shufflenet_v1": (1, {"groups": 3, "scale": 1.0, "shuffle": True, "shortcut": True, "alpha": 1.0}),
    "small_cnn": (1, SMALL_CNN),
    "small_segmenter": (1, SMALL_SEGMENTER),
    "torchvision_model": (
        1,
        {"alpha": 1.0, "pooling": "own", "weights": "none", "weights_entry": None, "class_rows": ()},
    ),
    "Classification": (1, {}),
    "Segmentation": (1, {}),
    "EagerEngine": (1, {"device": "cpu"}),
}
"""Of each network, task and engine of conf/: the version that its identity has, and its defaults."""

OFFERED = {"num_classes", "in_channels", "input_side"}
"""What a network is offered for its data, whatever its defaults."""


def stage_classes():
    """Yield every stage that is defined in effbench.stages."""
    for found in pkgutil.iter_modules(effbench.stages.__path__):
        module = importlib.import_module(f"effbench.stages.{found.name}")
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, Stage) and kind.__module__ == module.__name__:
                yield kind


def defaults_of(kind):
    """Return the defaults of a dataclass by field."""
    found = {}
    for field in dataclasses.fields(kind):
        if field.default is not dataclasses.MISSING:
            found[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory()
    return found


@pytest.mark.parametrize("kind", list(stage_classes()), ids=lambda kind: kind.__name__)
def test_the_defaults_of_a_stage_belong_to_its_version(kind):
    defaults = defaults_of(kind)
    assert defaults.pop("layers") == {}
    if kind.__name__ in STAGES:  # one that was added has no results yet that a changed default could spoil
        assert (kind.VERSION, defaults) == STAGES[kind.__name__], MESSAGE


def test_every_row_is_a_stage():
    assert {kind.__name__ for kind in stage_classes()} >= set(STAGES)


def factories():
    """Yield what conf/ names as networks, tasks and engines: whatever else has an identity with defaults left out."""
    for group in ("model", "task", "engine"):
        for path in sorted((CONF / group).glob("*.yaml")):
            yield pytest.param(Blueprint(yaml.safe_load(path.read_text())["_target_"]), id=f"{group}/{path.stem}")


@pytest.mark.parametrize("blueprint", list(factories()))
def test_the_defaults_of_a_factory_belong_to_its_version(blueprint):
    parameters = inspect.signature(blueprint.callable).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty and p.name not in OFFERED}
    identity = blueprint.identity()
    if identity["name"] in FACTORIES:  # one that was added has no results yet that a changed default could spoil
        assert (identity["version"], defaults) == FACTORIES[identity["name"]], MESSAGE
