"""The network that a command names, fresh and by itself: nothing is trained, and no data are needed.

It is built on the meta device where that can be: no weight is drawn or allocated.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from torch import nn
from torch.nn.modules.conv import _ConvNd

from effbench.config.command_line import CommandLine
from effbench.config.keys import ENGINES
from effbench.config.least_side import least_side
from effbench.config.members import members
from effbench.config.pretrained import is_pretrained
from effbench.config.references import why_unresolved
from effbench.config.resolve import task_blueprint
from effbench.config.search_path import searching
from effbench.config.targets import check_target
from effbench.config.trial import build_or_say_why, read_data, read_task
from effbench.models.usual_sizes import usual_sizes
from effbench.plan.blueprint import Blueprint
from effbench.plan.sources import network_of, offered_to_networks

USUAL = {"num_classes": 1000, "in_channels": 3, "input_side": 224}
"""What a network is offered of which nothing says what it is for."""


@dataclass(frozen=True, kw_only=True)
class FreshNetwork:
    """A network as it was built, and the size of its input."""

    network: nn.Module
    name: str
    input_size: tuple[int, int, int]
    """(channels, side, side)."""
    data: str | None = None
    """The name of the data whose classes, channels and side it has; None: its own."""


def fresh_network(command: CommandLine, /, *, side: int | None = None, follows_data: bool = False) -> FreshNetwork:
    """Build the network of a command's only configuration.

    side: of its images, in pixels; None: that of the data, or else the network's own. follows_data: whether it has the
    classes and channels of the data that the command names, as in a sweep; else those that its factory has by itself.
    ValueError, in one line, for what can't be built.
    """
    composed = command.configurations[0]
    with searching(command.search_path):
        check_target("model", composed.node["model"], nn.Module)
        model = _resolved(composed.node, "model")
        network = Blueprint.from_node(model)
        name = _name(network, composed.choices.get("model", ""))
        if not follows_data:
            return _by_itself(network, name, side)
        data = read_data(Blueprint.from_node(_resolved(composed.node, "data")))
        offered = offered_to_networks(
            read_task(task_blueprint(_resolved(composed.node, "task"))), data, side or max(data.side, least_side(model))
        )
        size = (data.channels, offered["input_side"], offered["input_side"])
        return FreshNetwork(network=_built(network, offered), name=name, input_size=size, data=data.name)


def _by_itself(network: Blueprint, name: str, side: int | None) -> FreshNetwork:
    """Build a network with its own classes, channels and side, as far as it has any."""
    offered = {**USUAL, **_defaults(network), **usual_sizes(network.target, network.options)}
    offered |= {} if side is None else {"input_side": side}
    known = {**offered, **{key: value for key, value in network.options.items() if key in USUAL}}
    pixels = known["input_side"] if side is None else side
    if "in_channels" in {*network.parameters, *network.options}:
        built, channels = _built(network, offered), known["in_channels"]
    else:
        built = _of_some_channels(network, offered)
        channels = _channels_of(built)
    return FreshNetwork(network=built, name=name, input_size=(channels, pixels, pixels))


def _of_some_channels(network: Blueprint, offered: Mapping[str, int]) -> nn.Module:
    """Build a network that does not say how many channels it takes: layers without sizes get them by an image."""
    try:
        return _built(network, offered)
    except ValueError as error:
        with suppress(ValueError):
            return _built(network, {**offered, "in_channels": 1})
        raise error from None


def _built(network: Blueprint, offered: Mapping[str, int]) -> nn.Module:
    """Build a network on the meta device, or, where that can't be, or it has weights, on the CPU."""
    has_weights = is_pretrained({"_target_": network.target, **network.options})
    has_weights = has_weights or network.options.get("weights") not in (None, "none")

    def build() -> nn.Module:
        if not has_weights:
            with suppress(Exception), torch.device("meta"):  # a mistake of the user's shows on the CPU as well
                return network_of(network, offered)
        return network_of(network, offered)

    return build_or_say_why(network, build)


def _defaults(network: Blueprint) -> dict[str, int]:
    """Return what a factory has by itself where it is not told otherwise."""
    parameters = inspect.signature(network.callable).parameters
    own = {name: parameters[name].default for name in USUAL if name in parameters}
    return {name: value for name, value in own.items() if isinstance(value, int)}


def _channels_of(network: nn.Module) -> int:
    """Return how many channels the first convolution takes; the usual number where there is none."""
    channels = (module.in_channels for module in network.modules() if isinstance(module, _ConvNd))
    return next(channels, USUAL["in_channels"])


def _name(network: Blueprint, choice: str) -> str:
    """Return what a network is called: as the user called it, where that says it."""
    member = members("model").get(choice)
    if member is None:
        return choice
    if member.get("_target_") != network.target:
        return network.target
    return str(network.options.get("name", choice))


def _resolved(node: Mapping[str, Any], group: str) -> dict[str, Any]:
    """Return a group's node of a configuration, its references resolved. ValueError, in one line, for what is not."""
    config = OmegaConf.create({name: value for name, value in node.items() if name != ENGINES})
    try:
        plain = OmegaConf.to_container(config[group], resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise ValueError(f"{error.full_key}: must be given, as in {error.full_key}=…") from None
    except OmegaConfBaseException as error:
        raise ValueError(f"{error.full_key}: {why_unresolved(error)}") from None
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
