"""What every axis in conf/axis owes: a declaration that holds together and refuses what it should."""

import dataclasses
import functools
import math
from pathlib import Path

import pytest
import yaml

from effbench.config.axis import CONFIGURED
from effbench.config.components import SIDES
from effbench.config.members import declared_axes
from effbench.config.overrides import parse, values_of
from effbench.config.recipe import Recipe
from effbench.plan.blueprint import Blueprint
from effbench.training.loop import TrainingOptions

CONF = Path(__file__).parents[2] / "conf"
AXES = declared_axes()
TYPES = {"float": "float", "int": "int", "str": "str", "bool": "str"}
"""Of the values of an axis by its declared type."""
COSTS = {"size_bytes": "bytes", "macs": "macs", "macs_effective": "macs", "latency": "latency"}


def load(group, name):
    return yaml.safe_load((CONF / group / f"{name}.yaml").read_text())


def names(group):
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.fixture(params=sorted(AXES))
def axis(request):
    return AXES[request.param]


def read_by(reader):
    return [axis for axis in AXES.values() if reader in axis.readers]


def examples(axis):
    """Return the values of the example, as the command line reads it."""
    return [axis.check(value) for value in values_of(parse([f"{axis.name}={axis.example}"])[0])]


def argument_of(axis):
    """Return what a network's factory calls it."""
    return axis.target if len(axis.readers) == 1 else axis.name


def test_every_file_is_an_axis():
    assert sorted(AXES) == names("axis")
    assert {"prune", "bits", "alpha", "rho", "rho_eval", "pooling"} <= set(AXES)


def test_the_neutral_value_is_allowed(axis):
    if axis.neutral == CONFIGURED:  # whatever the network has
        assert "stage" not in axis.readers
        return
    checked = axis.check(axis.neutral)
    assert checked == axis.neutral
    assert axis.is_neutral(checked)
    assert type(checked).__name__ == TYPES[axis.type]


def test_the_example_is_a_sweep(axis):
    values = examples(axis)
    assert len(set(values)) >= 2
    assert all(type(value).__name__ == TYPES[axis.type] for value in values)
    assert not all(axis.is_neutral(value) for value in values)


def test_what_it_says_of_itself_is_known(axis):
    assert axis.help and axis.help == axis.help.strip()
    assert set(axis.moves) <= set(COSTS)
    assert axis.moves or not axis.realised
    assert {COSTS[cost] for cost in axis.moves} <= set(axis.realised) <= {"bytes", "macs", "latency"}
    assert set(axis.realised.values()) <= {"simulated", "masked", "removed", "executed"}


def test_the_direction_of_compression_leads_away_from_neutral(axis):
    values = [value for value in examples(axis) if not axis.is_neutral(value)]
    if axis.neutral == CONFIGURED:
        return
    if axis.compresses == "up":
        assert min(values) > axis.neutral
    elif axis.compresses == "down":
        # A neutral value outside the range is a name for "none": 0 shared values are not fewer than two.
        assert max(values) < axis.neutral or axis.neutral < axis.minimum
    else:  # categories, or numbers on both sides of the neutral one
        assert axis.type in ("str", "bool") or min(values) < axis.neutral < max(values)


def test_what_reads_it_exists(axis):
    if "stage" in axis.readers:
        stage, field = axis.target.split(".")
        kind = Blueprint(load("stage", stage)["_target_"]).callable
        assert field in {f.name for f in dataclasses.fields(kind)}
        assert field not in load("stage", stage)  # it is given by the axis alone
    if "network" in axis.readers:
        factories = [Blueprint(load("model", name)["_target_"]) for name in names("model")]
        assert any(argument_of(axis) in factory.parameters for factory in factories)
    if "data" in axis.readers:
        factories = [Blueprint(load("data", name)["_target_"]) for name in names("data")]
        assert axis.target in SIDES or any(axis.target in factory.parameters for factory in factories)


RECIPES = names("recipe")
GENERAL = ("default", "quantization_aware", "deep_compression", "prune_quantize")
"""Recipes in which every technique has a place; the others are for some."""


def entries_of(recipe):
    """Return the names of all entries of a recipe, those placed by `phases` among them."""
    node = {"recipe": load("recipe", recipe), "phases": load("", "config")["phases"], "stage": {}}
    entries = Recipe(AXES, node, {}, {}).entries
    return [name for entry in entries for name in ([entry] if isinstance(entry, str) else entry)]


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_phase_has_one_place_in_a_recipe_unless_it_excludes_it(recipe):
    phases = [phase for phase in load("", "config")["phases"] if phase != "train"]  # where others stand before it
    excluded = load("recipe", recipe).get("excludes", [])
    counts = {phase: entries_of(recipe).count(phase) for phase in phases}
    assert counts == {phase: 0 if phase in excluded else 1 for phase in phases}
    if recipe in GENERAL:
        assert not excluded


def test_a_stage_has_its_place_in_the_general_recipes(axis):
    if "stage" not in axis.readers:
        assert axis.phase is None
        return
    for recipe in GENERAL:
        assert axis.phase in entries_of(recipe)
    assert axis.replaces or axis.phase in load("", "config")["phases"]


def test_what_it_replaces_is_a_stage_and_gives_way_to_one_of_the_same_kind(axis):
    if axis.replaces:
        stage, field = axis.target.split(".")
        assert axis.phase in axis.replaces
        assert stage in axis.replaces.values()
        for replaced, replacing in axis.replaces.items():
            assert load("stage", replaced)
            assert load("stage", replacing)["_target_"] == load("stage", stage)["_target_"]
            assert field not in load("stage", replacing)


def test_what_it_modifies_brings_in_the_same_stage_at_the_same_place(axis):
    if axis.modifies is not None:
        lead = AXES[axis.modifies]
        assert lead.modifies is None
        assert (lead.phase, lead.target.split(".")[0]) == (axis.phase, axis.target.split(".")[0])
        assert lead.target != axis.target


def test_a_pattern_is_put_into_words(axis):
    assert (axis.pattern is None) == (axis.pattern_words is None)
    if axis.pattern_words is not None:
        assert axis.allowed().endswith(f"or {axis.pattern_words}")


@pytest.mark.parametrize("axis", read_by("stage"), ids=lambda axis: axis.name)
def test_its_stage_takes_what_it_allows(axis):
    stage, field = axis.target.split(".")
    kind = Blueprint(load("stage", stage)["_target_"]).callable
    if issubclass(kind, TrainingOptions):
        kind = functools.partial(kind, epochs=1, lr=0.1)
    if axis.modifies is not None:
        lead = AXES[axis.modifies]
        kind = functools.partial(kind, **{lead.target.split(".")[1]: examples(lead)[0]})
    bounds = [bound for bound in (axis.minimum, axis.maximum) if bound is not None]
    for value in [*examples(axis), *(axis.check(bound) for bound in bounds)]:
        assert getattr(kind(**{field: axis.option(value)}), field) == axis.option(value)


NEEDS = {
    ("groups", "small_cnn"): {"conv": "grouped"},
    ("shuffle", "small_cnn"): {"conv": "grouped"},
    ("hidden", "small_cnn"): {"head": "linear"},
    ("alpha", "torchvision"): {"name": "mobilenet_v2"},
    ("pooling", "torchvision"): {"name": "vgg11", "input_side": 64},
}
"""Options of networks without which an axis has nothing to act on: it is then refused."""


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("axis", read_by("network"), ids=lambda axis: axis.name)
def test_its_network_takes_its_examples_and_its_neutral_value_changes_nothing(axis):
    for name in names("model"):
        factory = Blueprint(load("model", name)["_target_"], NEEDS.get((axis.name, name), {}))
        argument = argument_of(axis)
        if argument not in factory.parameters:
            continue
        shapes = lambda **options: [p.shape for p in factory.with_options(**options).build().parameters()]  # noqa: B023, E731
        if axis.neutral != CONFIGURED:
            assert shapes(**{argument: axis.option(axis.neutral)}) == shapes()
        for value in examples(axis):
            assert shapes(**{argument: axis.option(value)})


def out_of_range(axis):
    """Values just outside the bounds."""
    if axis.minimum is not None:
        yield axis.minimum - 1
    if axis.above is not None:
        yield from (axis.above, axis.above - 1)
    if axis.maximum is not None:
        yield axis.maximum + 1
    if axis.below is not None:
        yield from (axis.below, axis.below + 1)


def test_what_is_no_value_is_refused_with_its_name(axis):
    wrong = [math.nan, math.inf, -math.inf, "abc", None, {}, *out_of_range(axis)]
    wrong += {"str": ["", "1-", "Even"], "bool": [1, "on"]}.get(axis.type, [True, "0.5"])
    wrong += [2.5] if axis.type == "int" else []
    for value in wrong:
        with pytest.raises(ValueError) as refusal:
            axis.check(value)
        message = str(refusal.value)
        shown = "null" if value is None else value
        assert message.startswith(f"{axis.name}={shown}: must be ")
        assert message.endswith(f"for example {axis.name}={axis.example}")
        assert "\n" not in message
