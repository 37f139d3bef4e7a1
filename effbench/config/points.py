"""From what the command line says to the points of a plan."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

from effbench.codec.streams import Coder
from effbench.config.axis import Axis, Value
from effbench.config.command_line import CommandLine, Composed
from effbench.config.overrides import parse, values_of
from effbench.config.resolve import factory, resolved
from effbench.config.teachers import with_teachers
from effbench.config.trial import check_shapes, read_data
from effbench.config.typed import typed, unknown_name
from effbench.plan.blueprint import Blueprint
from effbench.plan.point import Plan, Point
from effbench.plan.recipe import Rounds, Until, lay_out
from effbench.plan.stage import Stage, Step
from effbench.plan.sweep import MAX_THREADS

Node = Mapping[str, Any]

STATED = ("train", "finetune")
"""The stages whose options have a node of their own, from which others take values over."""


def plan_of(command: CommandLine, /) -> Plan:
    """Return the plan of a command: its points and the reference of each. ValueError for what can't be run."""
    points: list[Point] = []
    for composed in command.configurations:
        builder = _Builder(command.axes, composed, command.axis_values)
        neutral = {name: command.axes[name].neutral for name in command.axis_values}
        for seed in command.seeds:
            reference = builder.point(neutral, seed, None)
            points.append(reference)
            for values in _grid(command.axis_values):
                if values != neutral:
                    points.append(builder.point(values, seed, reference))
    return Plan.of(points)


def _grid(axis_values: Mapping[str, Sequence[Value]]) -> Iterator[dict[str, Value]]:
    for combination in itertools.product(*axis_values.values()):
        yield dict(zip(axis_values, combination, strict=True))


@dataclass(frozen=True)
class _Builder:
    """Makes points from one composed configuration."""

    axes: Mapping[str, Axis]
    composed: Composed
    asked: Mapping[str, Sequence[Value]]
    """The values of each axis of the sweep."""

    @cached_property
    def node(self) -> dict[str, Any]:
        """The configuration, resolved; the options of every stage are checked, also of those that no axis uses."""
        node = resolved(self.composed.node)
        for name in sorted(node["stage"], key=lambda name: STATED.index(name) if name in STATED else len(STATED)):
            stage = node["stage"][name]
            _stage(name, {**stage, **self._example_fields(name)})
        return node

    def _example_fields(self, stage: str) -> dict[str, Any]:
        """Return a value for the fields of a stage that axes give: one that is asked for, or else an example."""
        fields = {}
        for axis in self.axes.values():
            name, _, field = axis.target.partition(".")
            if axis.reads == "stage" and stage in (name, *axis.replaces.values()):
                (example,) = parse([f"{axis.name}={axis.example}"])
                asked = [value for value in self.asked.get(axis.name, ()) if not axis.is_neutral(value)]
                fields[field] = asked[0] if asked else axis.check(next(values_of(example)))
        return fields

    def point(self, values: Mapping[str, Value], seed: int, reference: Point | None) -> Point:
        """Return the point at these axis values; `reference` is None for a reference itself."""
        node = self.node
        data = factory(node["data"], leave_out=("epochs",))
        loaded = read_data(data)
        side = _side(values.get("rho", 1.0), loaded.side, "rho")
        eval_side = side if values.get("rho_eval", 1.0) == 1 else _side(values["rho_eval"], loaded.side, "rho_eval")
        network = self._network(node["model"], values)
        label = self._label(values)
        trial = check_shapes(network, data, side, eval_side, where=label)
        return Point(
            label=label,
            axes=dict(values),
            swept=dict(self.composed.swept),
            seed=seed,
            network=network,
            data=data,
            fingerprint=loaded.fingerprint,
            side=side,
            eval_side=eval_side,
            steps=with_teachers(self._steps(node, values), reference),
            coder=_coder(node),
            threads=_threads(node),
            reference_bytes=trial.float32_bytes if reference is None else reference.reference_bytes,
            reference_key=None if reference is None else reference.key,
            config={**{k: v for k, v in node.items() if k not in ("axis",)}, "seed": seed, **values},
        )

    def _steps(self, node: Node, values: Mapping[str, Value]) -> tuple[Step | Rounds, ...]:
        # A recipe that does not say when its rounds end runs them all.
        until = typed(Until, node["recipe"].get("until", {}), where="recipe.until")
        chooser, rounds = self._chooser(node, values), self._n_rounds(node, values)
        return lay_out(node["recipe"]["steps"], chooser, rounds=rounds, until=until)

    def _n_rounds(self, node: Node, values: Mapping[str, Value]) -> int:
        """Return how many rounds a point has: as one of their stages says (the longest ladder), or else the recipe."""
        rounds = _rounds(node)
        names = itertools.chain(*(entry for entry in node["recipe"]["steps"] if not isinstance(entry, str)))
        stages = (stage for name in names for _, stage in self._stages_at(name, node["stage"], values))
        return max((n for stage in stages if (n := getattr(stage, "n_rounds", None)) is not None), default=rounds)

    def _network(self, node: Node, values: Mapping[str, Value]) -> Blueprint:
        network = factory(node)
        for name, axis in self._given(values, "network"):
            if axis.target not in network.parameters:
                readable = [
                    a.name for a in self.axes.values() if a.reads == "network" and a.target in network.parameters
                ]
                also = [a.name for a in self.axes.values() if a.reads != "network"]
                raise ValueError(
                    f"{self._shown(name)}: the network {network.target} does not read {name}; "
                    f"it can be swept over {', '.join([*readable, *also])}"
                )
            if not axis.is_neutral(values[name]):
                network = network.with_options(**{axis.target: values[name]})
        return network

    def _given(self, values: Mapping[str, Value], reads: str) -> Iterator[tuple[str, Axis]]:
        return ((name, self.axes[name]) for name in values if self.axes[name].reads == reads)

    def _chooser(self, node: Node, values: Mapping[str, Value]) -> Any:
        """Return what says which stages stand at an entry of the recipe."""
        entries = set(itertools.chain(*([e] if isinstance(e, str) else e for e in node["recipe"]["steps"])))
        phases = {axis.phase for axis in self.axes.values() if axis.phase is not None and not axis.replaces}
        for name, axis in self._given(values, "stage"):
            if not {axis.phase, *axis.replaces} & entries:
                steps = ", ".join(sorted(entries))
                raise ValueError(f"{self._shown(name)}: the recipe has no step {axis.phase!r}; its steps are {steps}")
            if axis.modifies is not None and axis.modifies not in values:
                lead = self.axes[axis.modifies]
                raise ValueError(
                    f"{self._shown(name)}: changes what {lead.name} does, "
                    f"so give that too, as in {lead.name}={lead.example}"
                )
        replaceable = {entry for axis in self.axes.values() for entry in axis.replaces}
        for entry in set(node["recipe"].get("taught", [])) - replaceable:
            raise ValueError(unknown_name(f"recipe.taught: {entry}", replaceable, "step"))
        for entry in entries - phases - set(node["stage"]):
            raise ValueError(unknown_name(f"recipe.steps: {entry}", [*phases, *node["stage"]], "step"))

        def choose(entry: str, position: int, n_rounds: int) -> Sequence[tuple[str, Stage]]:
            if entry not in phases:
                name, fields = self._in_place_of(entry, node, values)
                stage = _stage(name, {**node["stage"][name], **fields})
                return [] if getattr(stage, "is_neutral", False) else [(name, stage)]
            stages = self._stages_at(entry, node["stage"], values)
            in_rounds = n_rounds > 1
            return [
                (name, stage.at_round(position, n_rounds) if in_rounds or getattr(stage, "n_rounds", None) else stage)
                for name, stage in stages
            ]

        return choose

    def _in_place_of(self, entry: str, node: Node, values: Mapping[str, Value]) -> tuple[str, dict[str, Value]]:
        """Return the stage that stands where the recipe names `entry`, and the fields that an axis sets."""
        taught = node["recipe"].get("taught", [entry])  # a recipe that does not say has them all taught
        for name, axis in self._given(values, "stage"):
            if entry in axis.replaces and entry in taught and not axis.is_neutral(values[name]):
                return axis.replaces[entry], {axis.target.split(".")[1]: values[name]}
        return entry, {}

    def _stages_at(self, phase: str, nodes: Node, values: Mapping[str, Value]) -> Iterator[tuple[str, Any]]:
        """Yield the techniques of a phase that an axis brings in, each with the fields that its axes set."""
        given: dict[str, dict[str, Value]] = {}
        brought_in = set()
        # Equal ones by name: the order of the axes on the command line does not make another run.
        for name, axis in sorted(self._given(values, "stage"), key=lambda given: (given[1].order, given[0])):
            if axis.phase == phase and not axis.is_neutral(values[name]):
                stage_name, field = axis.target.split(".")
                given.setdefault(stage_name, {})[field] = values[name]
                if axis.modifies is None:
                    brought_in.add(stage_name)
        for stage_name, fields in given.items():
            if stage_name in brought_in:
                yield stage_name, _stage(stage_name, {**nodes[stage_name], **fields})

    def _shown(self, name: str) -> str:
        """Return an axis as it was asked for, as in "alpha=0.5,1"."""
        return f"{name}={','.join(_short(value) for value in self.asked[name])}"

    def _label(self, values: Mapping[str, Value]) -> str:
        parts = [f"{key}={value}" for key, value in self.composed.swept.items()]
        moved = [f"{name}={_short(value)}" for name, value in values.items() if not self.axes[name].is_neutral(value)]
        return ", ".join([*parts, *(moved or ["reference"])])


def _short(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _stage(name: str, node: Node) -> Any:
    where = name if name in STATED else f"stage.{name}"
    kind = Blueprint(node["_target_"]).callable
    assert isinstance(kind, type)
    return typed(kind, {key: value for key, value in node.items() if key != "_target_"}, where=where)


def _side(multiplier: Value, base: int, name: str) -> int:
    """Return floor(multiplier · base + 1/2), at least one pixel."""
    side = math.floor(float(multiplier) * base + 0.5)
    if side < 1:
        raise ValueError(f"{name}={multiplier}: nothing is left of images of {base} x {base}; use a larger {name}")
    return side


def _rounds(node: Node) -> int:
    rounds = node["recipe"]["rounds"]
    if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
        raise ValueError(f"recipe.rounds={rounds}: must be a whole number, 1 or more")
    return rounds


def _threads(node: Node) -> int:
    threads = node["train"]["threads"]
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MAX_THREADS:
        raise ValueError(f"train.threads={threads}: must be a whole number, 1 to {MAX_THREADS}")
    return threads


def _coder(node: Node) -> Coder:
    coder: Coder = node["coder"]
    if coder not in get_args(Coder):
        *others, last = get_args(Coder)
        raise ValueError(f"coder={coder}: must be {', '.join(others)} or {last}; for example coder=huffman,{last}")
    return coder
