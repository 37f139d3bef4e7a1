"""Networks, and functions that build them, given as objects: the names that they have in a plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from effbench.compression.constraints.copies import plain_network
from effbench.compression.duplicate import duplicate
from effbench.plan.content import classes_of, content_digest
from effbench.plan.given import Given, keep
from effbench.plan.importable import is_importable


@dataclass(frozen=True)
class CopyOf:
    """Builds a network that has its weights: a copy, whatever the seed."""

    network: nn.Module

    def __call__(self) -> nn.Module:
        """Return a copy of the network."""
        return duplicate(self.network)


def give_network(network: nn.Module, /) -> str:
    """Keep a copy of a network, with its weights as they are now; return the name that it has in a plan.

    What only wraps a network (DataParallel, torch.compile) is taken off. ValueError for one that can't be copied, or
    holds something that can't be told from another.
    """
    inner = _unwrapped(network)
    copied = duplicate(plain_network(inner)).to("cpu")
    name = type(inner).__name__
    try:
        content, code = content_digest(copied), content_digest(copied, with_numbers=False)
    except ValueError as error:
        raise ValueError(
            f"model={name}: {error}; give a factory instead, a function that returns the network"
        ) from None
    return keep(
        Given(
            name=name,
            content=content,
            code=code,
            build=CopyOf(copied),
            imported=tuple(classes_of(copied)),
            is_trained=True,
        )
    )


def give_factory(factory: Callable[..., Any], /, *, what: str) -> str:
    """Return the name in a plan of a function or class that builds something: its own where it can be imported.

    what: the keyword that it is given for, for messages.
    """
    name = getattr(factory, "__qualname__", type(factory).__name__)
    if is_importable(factory) and "." not in name:
        return f"{factory.__module__}.{name}"
    plain = name.rpartition(".")[2].strip("<>") or "factory"
    try:
        content = content_digest(factory)
    except ValueError as error:
        raise ValueError(f"{what}={plain}: {error}; make that within the function") from None
    return keep(Given(name=plain, content=content, build=factory))


def _unwrapped(network: nn.Module) -> nn.Module:
    while True:
        inner = getattr(network, "_orig_mod", None)  # torch.compile
        if inner is None and type(network).__name__ in ("DataParallel", "DistributedDataParallel"):
            inner = network.module
        if not isinstance(inner, nn.Module):
            return network
        network = inner
