"""The axes as one configuration has them: who reads each there, and what the network's own settings make neutral."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from effbench.config.axis import CONFIGURED, Axis, Value
from effbench.plan.blueprint import Blueprint


def axes_of(node: Mapping[str, Any], axes: Mapping[str, Axis], /) -> dict[str, Axis]:
    """Return the axes, each with the one reader that takes it here, and its neutral value.

    node: a composed configuration. An axis that nothing of it can read stays as it is declared.
    """
    made = {group: Blueprint.from_node(node[group]) for group in ("model", "data")}
    return {name: _configured(_read(axis, made["model"]), made) for name, axis in axes.items()}


def _read(axis: Axis, network: Blueprint) -> Axis:
    """Return an axis with one reader: the network where its factory has an argument of the axis's name."""
    if len(axis.readers) == 1:
        return axis
    if axis.name in network.parameters:
        return dataclasses.replace(axis, reads="network", target=axis.name)
    return dataclasses.replace(axis, reads="stage")


def _configured(axis: Axis, made: Mapping[str, Blueprint]) -> Axis:
    """Return an axis with the value that the configuration has as its neutral one, where it is declared so."""
    if axis.neutral != CONFIGURED:
        return axis
    read = made["model" if axis.reads == "network" else "data"]
    if axis.target not in read.parameters:
        return axis
    default = inspect.signature(read.callable).parameters[axis.target].default
    given = read.options.get(axis.target, default)
    return dataclasses.replace(axis, neutral=_neutral(axis, given))


def _neutral(axis: Axis, given: Any) -> Value:
    """Return a setting as a value of the axis; one that the axis can't have is no value that it sweeps."""
    typed = axis.typed(given)
    return CONFIGURED if typed is None or given in (None, inspect.Parameter.empty) else typed
