"""Which stages stand where: a recipe's steps, filled with the techniques that the axes bring in."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field

from effbench.checks.fields import check_fields
from effbench.config.axis import Axis, Value
from effbench.config.component_keys import STATED
from effbench.config.overrides import parse, values_of
from effbench.config.recipe_checks import check_training, layer_name
from effbench.config.typed import typed, unknown_name
from effbench.plan.blueprint import Blueprint
from effbench.plan.chain import Rounds, Steps, Until
from effbench.plan.recipe import Entry, best_of_finetunings, lay_out
from effbench.plan.stage import Stage

Node = Mapping[str, Any]

TRAIN = "train"
"""Of the phases those before it stand at a recipe's beginning, whatever that is."""
MAX_ROUNDS = 1000
"""More than any ladder has; each of them is planned."""


@dataclass(frozen=True, kw_only=True)
class RecipeSettings:
    """What a recipe's node says beside its steps and when they end."""

    rounds: Annotated[int, Field(ge=1, le=MAX_ROUNDS)]

    def __post_init__(self) -> None:
        """Refuse what is no number of rounds."""
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class _RecipeSteps:
    """Which steps a recipe has, and which of them are replaced or left out."""

    steps: Annotated[Sequence[str | Sequence[str]], Field(description="as in [train, [prune, finetune]]")]
    name: Annotated[str, Field(pattern=r"\S", description="a name")] = "recipe"
    excludes: Sequence[str] = ()
    taught: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuse what is no list of names."""
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class _Phases:
    """The order in which techniques stand where a recipe does not say it."""

    phases: Annotated[Sequence[str], Field(description="names, as in [structure, prune, quantize]")]

    def __post_init__(self) -> None:
        """Refuse what is no list of names."""
        check_fields(self)


def make_stage(name: str, node: Node, /) -> Stage:
    """Return the stage that a node with a `_target_` describes. ValueError names the key that does not fit."""
    blueprint = Blueprint.from_node(node, leave_out=("_target_",))
    kind: object = blueprint.callable
    if not (isinstance(kind, type) and issubclass(kind, Stage)):
        raise ValueError(f"stage.{name}._target_={blueprint.target}: must be a class derived from Stage")
    where = name if name in STATED else f"stage.{name}"
    options = dict(blueprint.options)
    if isinstance(options.get("layers"), Mapping):
        options["layers"] = {layer_name(key, where): value for key, value in options["layers"].items()}
    try:
        return typed(kind, options, where=where)
    except ValueError as error:
        if name not in STATED:
            raise
        raise ValueError(str(error).replace(f"{name}.augmentation", f"{name}.augment", 1)) from None


@dataclass(frozen=True)
class Recipe:
    """A recipe of the configuration, at given values of the axes."""

    axes: Mapping[str, Axis]
    node: Node
    """The resolved configuration."""
    values: Mapping[str, Value]
    asked: Mapping[str, Sequence[Value]]
    """All values of each axis of the sweep, for messages."""

    def steps(self) -> Steps:
        """Return the steps. ValueError for an axis that has no place among them, and for an unknown step."""
        self._check_axes()
        # A recipe that does not say when its rounds end runs them all.
        until = typed(Until, self.node["recipe"].get("until", {}), where="recipe.until")
        n_rounds = self._n_rounds()
        steps = lay_out(self.entries, self._stages_at, rounds=n_rounds, until=until)
        check_training(steps)
        reached = tuple(self._reached(position, n_rounds) for position in range(n_rounds + 1))
        return tuple(replace(step, reached=reached) if isinstance(step, Rounds) else step for step in steps)

    def reference_steps(self) -> Steps:
        """Return the steps of a reference, finetuned as often as the longest run of this configuration could be.

        So a point more in the sweep changes no reference. Of its finetunings the best on validation is taken.
        """
        self._check_axes()
        rounds = max([self._configured_rounds(), *(stage.most_rounds or 1 for stage in self._techniques_in_rounds())])
        return best_of_finetunings(lay_out(self.entries, self._stages_at, rounds=rounds))

    @cached_property
    def entries(self) -> list[Entry]:
        """The recipe's steps, with the phases that it does not name where `phases` has them.

        One that is not named stands directly before the next of `phases` that is, in a group where that one is in a
        group; else at the end, as does one that `phases` does not have. Those before `train` stand before all that the
        recipe has, as some begin otherwise. What the recipe `excludes` has no place.
        """
        named = {
            name: self.node["recipe"][name]
            for name in ("name", "steps", "excludes", "taught")
            if name in self.node["recipe"]
        }
        typed(_RecipeSteps, named, where="recipe")
        _Phases(phases=self.node["phases"])
        entries: list[Entry] = [e if isinstance(e, str) else list(e) for e in self.node["recipe"]["steps"]]
        phases = [*self.node["phases"], *sorted(self._phases - set(self.node["phases"]))]
        excluded = self.node["recipe"].get("excludes", [])
        for number, phase in reversed(list(enumerate(phases))):
            if phase not in _names(entries) and phase not in excluded and phase != TRAIN:
                is_first = TRAIN in phases[number:]
                entries = [phase, *entries] if is_first else _with_phase(entries, phase, phases[number + 1 :])
        return entries

    @cached_property
    def _phases(self) -> set[str]:
        declared = {axis.phase for axis in self.axes.values() if axis.phase is not None and not axis.replaces}
        return declared | (set(self.node["phases"]) - set(self.node["stage"]))

    def _n_rounds(self) -> int:
        """Return how many rounds a point has: as one of their stages says (the longest ladder), or else the recipe."""
        stages = [stage for phase in self._phases_in_groups() for _, stage in self._techniques(phase)]
        own = [stage.n_rounds for stage in stages if stage.n_rounds is not None]
        return max(own, default=self._configured_rounds())

    def _configured_rounds(self) -> int:
        return typed(RecipeSettings, {"rounds": self.node["recipe"]["rounds"]}, where="recipe").rounds

    def _phases_in_groups(self) -> list[str]:
        names = itertools.chain(*(entry for entry in self.entries if not isinstance(entry, str)))
        return [name for name in names if name in self._phases]

    def _reached(self, position: int, n_rounds: int) -> dict[str, float]:
        """Return what the axes of the techniques in rounds come to after so many of them, where they are numbers."""
        leads = {axis.target.partition(".")[0]: name for name, axis in self._swept_stages() if axis.modifies is None}
        techniques = [named for phase in self._phases_in_groups() for named in self._techniques(phase)]
        reached: dict[str, float] = {}
        for stage_name, stage in techniques:
            name, value = leads[stage_name], stage.value_after(position, n_rounds)
            if value is None:  # it has done all that it does after its first round
                given = self.values[name] if position else self.axes[name].neutral
                value = None if isinstance(given, str) else given
            if value is not None:
                reached[name] = value
        return reached

    def _techniques_in_rounds(self) -> Iterator[Stage]:
        """Yield the stages that may stand in the recipe's rounds, swept or not, at a value of their axis."""
        for axis in self.axes.values():
            if axis.reads == "stage" and axis.phase in self._phases_in_groups() and axis.modifies is None:
                stage_name, field = axis.target.split(".")
                value = moving_value(axis, self.asked.get(axis.name, ()))
                yield make_stage(stage_name, {**self.node["stage"][stage_name], field: axis.option(value)})

    def _stages_at(self, entry: str, position: int, n_rounds: int) -> Sequence[tuple[str, Stage]]:
        """Return the stages that stand at an entry of the recipe, in one of its rounds."""
        if entry not in self._phases:
            name, fields = self._in_place_of(entry)
            stage = make_stage(name, {**self.node["stage"][name], **fields})
            return [] if stage.is_neutral else [(name, stage)]
        return [
            (name, stage.at_round(position, n_rounds) if n_rounds > 1 or stage.n_rounds is not None else stage)
            for name, stage in self._techniques(entry)
        ]

    def _in_place_of(self, entry: str) -> tuple[str, dict[str, Value]]:
        """Return the stage that stands where the recipe names `entry`, and the fields that an axis sets."""
        taught = self.node["recipe"].get("taught", [entry])  # a recipe that does not say has them all taught
        for name, axis in self._swept_stages():
            if entry in axis.replaces and entry in taught and not axis.is_neutral(self.values[name]):
                return axis.replaces[entry], {axis.target.split(".")[1]: axis.option(self.values[name])}
        also = [(target.split("."), name) for name, axis in self._swept_stages() for target in axis.also]
        return entry, {
            field: self.axes[name].option(self.values[name]) for (stage, field), name in also if stage == entry
        }

    def _techniques(self, phase: str) -> Iterator[tuple[str, Stage]]:
        """Yield the techniques of a phase that an axis brings in, each with the fields that its axes set."""
        fields: dict[str, dict[str, Value]] = {}
        brought_in = set()
        # Equal ones by name: the order of the axes on the command line does not make another run.
        for name, axis in sorted(self._swept_stages(), key=lambda swept: (swept[1].order, swept[0])):
            if axis.phase == phase and not axis.is_neutral(self.values[name]):
                stage_name, field = axis.target.split(".")
                fields.setdefault(stage_name, {})[field] = axis.option(self.values[name])
                if axis.modifies is None:
                    brought_in.add(stage_name)
        for stage_name, given in fields.items():
            if stage_name in brought_in:
                yield stage_name, make_stage(stage_name, {**self.node["stage"][stage_name], **given})

    def _swept_stages(self) -> Iterator[tuple[str, Axis]]:
        return ((name, self.axes[name]) for name in self.values if self.axes[name].reads == "stage")

    def _check_axes(self) -> None:
        """Refuse an axis without a place in the recipe or without the one it modifies, and steps that there are not."""
        steps, names = self.node["recipe"], _names(self.entries)
        for name, axis in self._swept_stages():
            if not {axis.phase, *axis.replaces} & names:
                shown = ", ".join(sorted(names))
                raise ValueError(f"{self._shown(name)}: the recipe has no step {axis.phase!r}; its steps are {shown}")
            if axis.modifies is not None and axis.modifies not in self.values:
                lead = self.axes[axis.modifies]
                raise ValueError(
                    f"{self._shown(name)}: changes what {lead.name} does, "
                    f"so give that too, as in {lead.name}={lead.example}"
                )
            for other in axis.excludes:
                if not axis.is_neutral(self.values[name]) and self._moves(other):
                    raise ValueError(
                        f"{self._shown(name)}: quantises what {self._shown(other)} has quantised, so give one of them"
                    )
        replaceable = {entry for axis in self.axes.values() for entry in axis.replaces}
        for entry in set(steps.get("taught", [])) - replaceable:
            raise ValueError(unknown_name(f"recipe.taught: {entry}", replaceable, "step"))
        for entry in set(steps.get("excludes", [])) - self._phases:
            raise ValueError(unknown_name(f"recipe.excludes: {entry}", self._phases, "phase"))
        for entry in names - self._phases - set(self.node["stage"]):
            raise ValueError(unknown_name(f"recipe.steps: {entry}", [*self._phases, *self.node["stage"]], "step"))

    def _moves(self, name: str) -> bool:
        return name in self.values and not self.axes[name].is_neutral(self.values[name])

    def _shown(self, name: str) -> str:
        return shown_axis(name, self.asked[name])


def shown_axis(name: str, values: Sequence[Value], /) -> str:
    """Return an axis as it was asked for, as in "alpha=0.5,1"."""
    return f"{name}={','.join(map(short, values))}"


def short(value: Value, /) -> str:
    """Return a value as labels have it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _names(entries: Sequence[Entry]) -> set[str]:
    return set(itertools.chain(*([entry] if isinstance(entry, str) else entry for entry in entries)))


def _with_phase(entries: Sequence[Entry], phase: str, later: Sequence[str]) -> list[Entry]:
    """Return the entries with a phase before the first of the `later` ones that they name; else at the end."""
    following = next((name for name in later if name in _names(entries)), None)
    if following is None:
        return [*entries, phase]
    placed: list[Entry] = []
    is_placed = False
    for entry in entries:
        names = [entry] if isinstance(entry, str) else list(entry)
        if following in names and not is_placed:
            position = names.index(following)
            names, is_placed = [*names[:position], phase, *names[position:]], True
        placed += names if isinstance(entry, str) else [names]
    return placed


def moving_value(axis: Axis, asked: Sequence[Value], /) -> Value:
    """Return a value at which an axis does something: one of those that are asked for, or else of its example."""
    moved = [value for value in asked if not axis.is_neutral(value)]
    if moved:
        return moved[0]
    (example,) = parse([f"{axis.name}={axis.example}"])
    return axis.check(next(values_of(example)))
