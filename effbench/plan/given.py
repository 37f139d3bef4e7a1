"""Objects that a program gives to a sweep: a network, a factory, data sets. In a plan they stand under a name.

The name holds a digest of the object (`content_digest`), so that it means the same after a restart. This process keeps
what it was given; another gets it from here (`run.parcel`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from effbench.plan.source_code import source_identity

PREFIX = "given:"


@dataclass(frozen=True, kw_only=True)
class Given:
    """An object that was given, as what builds from it what a plan needs."""

    name: str
    """Under which it is logged, as "Net"."""
    content: str
    """A digest of it."""
    build: Callable[..., Any]
    code: str = ""
    """A digest of its code and structure, whatever its weights; empty where only `content` tells it."""
    imported: tuple[Callable[..., Any], ...] = field(default=(), repr=False)
    """Classes that it is made of which another process imports: their sources may change."""
    is_trained: bool = False
    """Whether it is a network with the weights to start from."""

    @property
    def target(self) -> str:
        """The name in a plan."""
        return f"{PREFIX}{self.name}-{self.content}"

    def identity(self) -> dict[str, Any]:
        """Return what tells it from another, as JSON-able data."""
        return {"given": self.content, "classes": [source_identity(kind) for kind in self.imported]}


_given: dict[str, Given] = {}


def is_given(target: object, /) -> bool:
    """Whether a name stands for an object that a program gives."""
    return isinstance(target, str) and target.startswith(PREFIX)


def any_given() -> bool:
    """Whether this process was given any object."""
    return bool(_given)


def keep(given: Given, /) -> str:
    """Keep an object of this process under its name, which is returned."""
    return _given.setdefault(given.target, given).target


def given_object(target: str, /) -> Given:
    """Return what stands behind a name. ValueError where this process was not given it."""
    if target not in _given:
        raise ValueError(
            f"_target_={target}: stands for an object of another program; give that again: effbench.run_sweep(model=…)"
        )
    return _given[target]


def short_name(target: str, /) -> str:
    """Return a name that still tells a given object from others of its class.

    >>> short_name("given:Net-0123456789abcdef")
    'Net-01234567'
    """
    return target.removeprefix(PREFIX)[:-8]


def name_of(target: str, /) -> str:
    """Return the short name of what a dotted name, or one of a given object, stands for: "Net" of both.

    >>> name_of("my_package.nets.Net"), name_of("given:Net-0123456789abcdef")
    ('Net', 'Net')
    """
    return target.removeprefix(PREFIX).rpartition("-")[0] if is_given(target) else target.rpartition(".")[2]
