"""From what the command line says to the points of a plan."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from effbench.checks.fields import check_fields
from effbench.checks.secrets import hide_in_values
from effbench.codec.streams import Coder
from effbench.config.axis import Axis, Value
from effbench.config.command_line import CommandLine, Composed
from effbench.config.component_keys import STATED
from effbench.config.components import Components
from effbench.config.configured import axes_of
from effbench.config.hint_pairs import check_hints
from effbench.config.keys import ENGINES
from effbench.config.layouts import as_trained, trainable
from effbench.config.members import members, naming_the_file, users_members
from effbench.config.overrides import flat
from effbench.config.recipe import Recipe, make_stage, moving_value, short
from effbench.config.recipe_checks import check_freeze, check_layers, tell_of_lost_weights
from effbench.config.resolve import done_before, resolved, task_blueprint
from effbench.config.resolved_file import EMBEDDED, Described, described
from effbench.config.search_path import searching
from effbench.config.short_forms import function_form
from effbench.config.suited_stages import suit_to_network
from effbench.config.targets import check_targets
from effbench.config.teachers import with_teachers
from effbench.config.training import in_words
from effbench.config.trial import check_shapes, read_data
from effbench.config.typed import typed
from effbench.plan.blueprint import Blueprint
from effbench.plan.chain import Chain
from effbench.plan.given import is_given, short_name
from effbench.plan.point import Plan, Point
from effbench.plan.sources import fingerprint_of
from effbench.plan.sweep import Threads
from effbench.plan.watching import WATCHED, Watching


@dataclass(frozen=True, kw_only=True)
class _FileSettings:
    """How a run's file is written."""

    coder: Coder

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class _TrainSettings:
    """What of `train` is no option of a stage."""

    threads: Threads

    def __post_init__(self) -> None:
        check_fields(self)


def plan_of(command: CommandLine, /) -> Plan:
    """Return the plan of a command: its points and the reference of each. ValueError for what can't be run."""
    with searching(command.search_path):
        return Plan.of(_points(command))


def _points(command: CommandLine) -> Iterator[Point]:
    for composed in command.configurations:
        builder = Builder(command.axes, composed, command.axis_values)
        neutral = {name: builder.axes[name].neutral for name in command.axis_values}
        for seed in command.seeds:
            reference = builder.point(neutral, seed, None)
            yield reference
            for values in _grid(command.axis_values):
                if values != neutral:
                    yield builder.point(values, seed, reference)
            for values in builder.controls() if command.with_controls else ():
                yield builder.point(values, seed, reference)


def _grid(axis_values: Mapping[str, Sequence[Value]]) -> Iterator[dict[str, Value]]:
    for combination in itertools.product(*axis_values.values()):
        yield dict(zip(axis_values, combination, strict=True))


@dataclass(frozen=True)
class Builder:
    """Makes points from one composed configuration."""

    declared: Mapping[str, Axis]
    composed: Composed
    asked: Mapping[str, Sequence[Value]]
    """The values of each axis of the sweep."""

    @cached_property
    def axes(self) -> dict[str, Axis]:
        """The axes as this configuration has them."""
        return axes_of(self.node, self.declared)

    @cached_property
    def node(self) -> dict[str, Any]:
        """The configuration, resolved; the options of every stage are checked, also of those that no axis uses."""
        self._check_task()
        check_targets(self.composed.node, self.composed.choices)
        node = resolved(self.composed.node)
        for name in sorted(node["stage"], key=lambda name: STATED.index(name) if name in STATED else len(STATED)):
            with naming_the_file("stage", name):
                make_stage(name, {**node["stage"][name], **self._example_fields(name)})
        return node

    @cached_property
    def _described(self) -> Described:
        own = {group: users_members(group) for group in EMBEDDED}
        return described(self.node, chosen=self.composed.choices, swept=self.composed.swept, members=own)

    def _check_task(self) -> None:
        """Refuse a network or a data set that says that it is for other tasks."""
        task = self.composed.choices["task"]
        # A task that is like another one takes all that is for that one; and what it names itself, it takes.
        fits = {task, *flat([self.composed.node["task"].get("like", [])])}
        for group in ("model", "data"):
            tasks = self.composed.node[group].get("tasks")
            is_its_own = self.composed.choices[group] == self.composed.node["task"][group]
            if tasks is not None and not fits.intersection(tasks) and not is_its_own:
                fitting = [name for name, node in members(group).items() if fits.intersection(node.get("tasks", fits))]
                raise ValueError(
                    f"{group}={self.composed.choices[group]}: is for task={','.join(tasks)}, not for task={task}, "
                    f"which can take {group}={','.join(fitting)}"
                )

    def _example_fields(self, stage: str) -> dict[str, Any]:
        """Return a value for the fields of a stage that axes give: one that is asked for, or else an example."""
        fields = {}
        for axis in self.declared.values():  # as they are declared: here a network may read one in a stage's place
            name, _, field = axis.target.partition(".")
            if "stage" in axis.readers and stage in (name, *axis.replaces.values()):
                asked = self.asked.get(axis.name, ())
                # What changes a technique may not go with the rest: it is left out where nothing is asked for.
                if axis.modifies is None or not all(axis.is_neutral(value) for value in asked):
                    fields[field] = axis.option(moving_value(axis, asked))
        return fields

    def controls(self) -> Iterator[dict[str, Value]]:
        """Yield the axis values of the controls: the axes that move no cost at their values, all others neutral.

        There are none where no other axis is swept: the points are then these networks themselves.
        """
        free = {name for name in self.asked if not self.axes[name].moves}
        if free and free != set(self.asked):
            values = {name: self.asked[name] if name in free else [self.axes[name].neutral] for name in self.asked}
            yield from (point for point in _grid(values) if any(not self._is_neutral(name, point) for name in free))

    def _is_neutral(self, name: str, values: Mapping[str, Value]) -> bool:
        return self.axes[name].is_neutral(values[name])

    def _is_control(self, values: Mapping[str, Value]) -> bool:
        return any(values == control for control in self.controls())

    def point(self, values: Mapping[str, Value], seed: int, reference: Point | None) -> Point:
        """Return the point at these axis values; `reference` is None for a reference itself."""
        node, label = self.node, self._label(values)
        components = Components(self.axes, node, self.asked)
        task, data = task_blueprint(node["task"]), components.data(values)
        loaded = read_data(data)
        sides = components.sides(values, loaded)
        network = components.network(values)
        trial = check_shapes(network, task, data, sides["side"], sides["eval_side"], where=label)
        recipe = Recipe(self.axes, node, values, self.asked)
        steps = recipe.reference_steps() if reference is None else recipe.steps()
        check_layers(steps, trial.layers, trial.tables, trial.modules)
        check_freeze(steps, trial.trained, trial.classifier)
        if done_before(node["model"]):
            tell_of_lost_weights(steps, where=label)
        chain = Chain(
            network=network,
            task=task,
            data=data,
            fingerprint=fingerprint_of(data),
            side=sides["side"],
            seed=seed,
            threads=typed(_TrainSettings, {"threads": node["train"]["threads"]}, where="train").threads,
            steps=with_teachers(steps, None if reference is None else self._as_teacher(reference)),
        )
        chain = suit_to_network(chain, where=label)
        check_hints(chain, where=label)
        chain = trainable(chain, node)
        if reference is not None and chain == self._as_teacher(reference):
            chain = reference.chain  # it is made as the reference is, and evaluated otherwise, say: it is its network
        config = {name: entry for name, entry in node.items() if name not in (ENGINES, "phases")}
        config = in_words({**config, **as_trained(chain, node)})
        return Point(
            label=label,
            axes=dict(values),
            swept=hide_in_values(self.composed.swept),
            chain=chain,
            eval_side=sides["eval_side"],
            coder=_coder(node["coder"]),
            reference_bytes=trial.float32_bytes if reference is None else reference.reference_bytes,
            reference_key=None if reference is None else reference.key,
            watching=typed(Watching, {name: node["train"][name] for name in WATCHED}, where="train"),
            is_control=self._is_control(values),
            config=hide_in_values({**config, "seed": seed, **values}),
            resolved=self._described.of_run(values, seed),
            network_as_given=self._network_as_given(network),
        )

    def _network_as_given(self, network: Blueprint) -> str | None:
        """Return what a network is called that has no name in conf or torchvision; each of several given ones."""
        if is_given(network.target) and "model" in self.composed.swept:
            return short_name(network.target)
        return function_form(self.composed.choices["model"])

    def _as_teacher(self, reference: Point) -> Chain:
        """Return the reference's chain as the recipe has it, with all its finetunings: what teaches where it does."""
        steps = Recipe(self.axes, self.node, reference.axes, self.asked).steps()
        return trainable(dataclasses.replace(reference.chain, steps=steps), self.node)

    def _label(self, values: Mapping[str, Value]) -> str:
        parts = [f"{key}={value}" for key, value in hide_in_values(self.composed.swept).items()]
        moved = [f"{name}={short(value)}" for name, value in values.items() if not self.axes[name].is_neutral(value)]
        return ", ".join([*parts, *(moved or ["reference"])])


def _coder(value: object) -> Coder:
    try:
        return _FileSettings(coder=value).coder  # type: ignore[arg-type]
    except ValueError as error:
        raise ValueError(f"{error}; for example coder=huffman,context") from None
