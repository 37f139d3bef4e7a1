"""What blueprints stand for, built: data sets and tasks once a process, networks anew."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from effbench.compression.constraints.copies import plain_network
from effbench.data import ImageData
from effbench.plan.blueprint import Blueprint, is_absolute
from effbench.plan.given_weights import give_weights, split_off
from effbench.plan.keys import digest
from effbench.plan.source_code import is_own, source_identity
from effbench.plan.user_factory import load_users_data
from effbench.tasks import Task


@lru_cache(maxsize=4)
def load_data(blueprint: Blueprint) -> ImageData:
    """Return the data set of a blueprint; loaded once a process."""
    data: ImageData = blueprint.build() if is_own(blueprint.callable) else load_users_data(blueprint)
    return data


def fingerprint_of(blueprint: Blueprint, /) -> str:
    """Return what tells a data set from another.

    Of effbench's kinds its own fingerprint, whoever fills them: they hold every pixel. One of a user's own kind need
    not show how it prepares images: its code and options count as well, but for absolute paths.
    """
    data = load_data(blueprint)
    if is_own(type(data)):
        return data.fingerprint
    identity = blueprint.identity()
    options = {name: value for name, value in identity["options"].items() if not is_absolute(value)}
    code = {**identity, "options": options, "class": source_identity(type(data))}
    return digest({"data": data.fingerprint, "code": code})


@lru_cache(maxsize=4)
def load_task(blueprint: Blueprint) -> Task:
    """Return the task of a blueprint."""
    task: Task = blueprint.build()
    return task


def offered_to_networks(task: Task, data: ImageData, side: int, /) -> dict[str, int]:
    """Return the arguments that what builds a network is offered: it takes those that it has."""
    return {"num_classes": task.n_outputs(data), "in_channels": data.channels, "input_side": side}


def build_network(blueprint: Blueprint, task: Task, data: ImageData, side: int) -> nn.Module:
    """Return the network for a task on a data set at `side`, its weights drawn from torch's global generator."""
    return network_of(blueprint, offered_to_networks(task, data, side))


def network_of(blueprint: Blueprint, offered: Mapping[str, int], /) -> nn.Module:
    """Return the network of a blueprint that is offered these arguments; layers without sizes get them by an image.

    Where the blueprint names a file of weights that the factory does not read itself, these stand in their place.
    """
    own, _given = split_off(blueprint)
    network = own.build(**offered)
    if not isinstance(network, nn.Module):
        raise ValueError(f"model._target_={blueprint.target}: gives a {type(network).__name__}, not a torch.nn.Module")
    if any(is_lazy(parameter) for parameter in network.parameters()):
        side = offered["input_side"]
        with torch.no_grad():
            network.eval()(torch.zeros(1, offered["in_channels"], side, side))
        network.train()
    network = plain_network(network)
    give_weights(network, blueprint)
    return network
