"""Networks and data sets with the options that axes set."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from effbench.checks.fields import shown
from effbench.config.axis import CONFIGURED, Axis, Value
from effbench.config.least_side import least_side
from effbench.config.recipe import short, shown_axis
from effbench.data import ImageData
from effbench.plan.blueprint import Blueprint
from effbench.plan.user_factory import options_of

SIDES = ("side", "eval_side")
"""What an axis that reads the data can multiply: the side at which a network is trained, and is evaluated."""


@dataclass(frozen=True)
class Components:
    """What is built for a point, at its values of the axes. ValueError for what an axis can't set."""

    axes: Mapping[str, Axis]
    """As the configuration has them."""
    node: Mapping[str, Any]
    """The resolved configuration."""
    asked: Mapping[str, Sequence[Value]]
    """All values of each axis of the sweep, for messages."""

    def data(self, values: Mapping[str, Value]) -> Blueprint:
        """Return the data set, with the options that axes set."""
        data = Blueprint.from_node(self.node["data"])
        for name, axis in self._swept(values, "data"):
            if axis.target in SIDES:
                continue
            if axis.target not in options_of(data):
                raise ValueError(f"{self._shown(name)}: the data set {data.target} does not read {name}")
            data = self._with_axis(data, "data", name, values[name])
        return data

    def sides(self, values: Mapping[str, Value], data: ImageData) -> dict[str, int]:
        """Return the sides in pixels at which the network is trained, and is evaluated: its `least_side` at least."""
        swept = {axis.target: name for name, axis in self._swept(values, "data") if axis.target in SIDES}
        sides = {"side": max(data.side, least := least_side(self.node["model"]))}
        for target in SIDES:
            name = swept.get(target)
            if name is not None and not self.axes[name].is_neutral(values[name]):
                sides[target] = _scaled_side(values[name], data.side, name, least=least)
        return {"eval_side": sides["side"], **sides}

    def network(self, values: Mapping[str, Value]) -> Blueprint:
        """Return the network, with the options that axes set. ValueError where it does not read one of them."""
        network = Blueprint.from_node(self.node["model"])
        for name, axis in self._swept(values, "network"):
            if axis.target not in network.parameters:
                of_networks = [a for a in self.axes.values() if a.reads == "network" and a.target in network.parameters]
                others = [a.name for a in self.axes.values() if a.reads != "network"]
                raise ValueError(
                    f"{self._shown(name)}: the network {network.target} does not read {name}; "
                    f"it can be swept over {', '.join([*(a.name for a in of_networks), *others])}"
                )
            network = self._with_axis(network, "model", name, values[name])
        return network

    def _with_axis(self, made: Blueprint, group: str, name: str, value: Value) -> Blueprint:
        """Return a network or data set with what an axis sets: nothing at its neutral value, which is the default."""
        axis = self.axes[name]
        self._check_not_fixed(group, name)
        default = inspect.signature(made.callable).parameters[axis.target].default
        if not axis.is_neutral(value) or default is inspect.Parameter.empty:
            return made.with_options(**{axis.target: axis.option(value)})
        if axis.neutral == CONFIGURED:
            raise ValueError(
                f"{self._shown(name)}: {made.target} has no {axis.target} of its own to compare with; "
                f"give {group}.{axis.target}, which is then the reference's"
            )
        if axis.target not in made.options and axis.typed(default) != axis.neutral:
            neutral = shown(axis.neutral)
            raise ValueError(
                f"{self._shown(name)}: {name} is declared to do nothing at {neutral}, but {made.target} has "
                f"{axis.target}={shown(default)} where none is given; give {group}.{axis.target}={neutral}, "
                f"or declare neutral: {shown(default)}"
            )
        return made

    def _check_not_fixed(self, group: str, name: str) -> None:
        """Refuse a sweep of an option that the configuration sets to another value than the axis's neutral one."""
        axis = self.axes[name]
        fixed = self.node[group].get(axis.target, axis.neutral)
        if fixed != axis.neutral and axis.typed(fixed) != axis.neutral:
            raise ValueError(
                f"{group}.{axis.target}={short(fixed)}: is what {self._shown(name)} sweeps; give one of the two"
            )

    def _swept(self, values: Mapping[str, Value], reads: str) -> Iterator[tuple[str, Axis]]:
        return ((name, self.axes[name]) for name in values if self.axes[name].reads == reads)

    def _shown(self, name: str) -> str:
        return shown_axis(name, self.asked[name])


def _scaled_side(multiplier: Value, base: int, name: str, *, least: int) -> int:
    """Return floor(multiplier · base + 1/2). ValueError where nothing is left, or less than the network takes."""
    side = math.floor(float(multiplier) * base + 0.5)
    if 1 <= side < least:
        raise ValueError(
            f"{name}={multiplier}: images of {side} x {side} are smaller than the network takes (model.least_side: "
            f"{least}); use a larger {name} or data.side"
        )
    if side < 1:
        raise ValueError(f"{name}={multiplier}: nothing is left of images of {base} x {base}; use a larger {name}")
    return side
