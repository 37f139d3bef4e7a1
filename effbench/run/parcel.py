"""What another process of effbench's needs of this one: objects that a program gave, and where it stands.

Objects that can't be imported (classes typed into a notebook, lambdas) go by value, as cloudpickle writes them: through
the pipe to a process that effbench itself began, and never into a file. Nothing else in effbench reads what could run
code.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from effbench.checks.errors import kind_and_line
from effbench.plan.blueprint import Blueprint
from effbench.plan.given import Given, any_given, given_object, is_given, keep


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """Plain data, until it is opened where it has arrived."""

    objects: bytes = field(default=b"", repr=False)
    """The objects, pickled; empty where there are none."""
    folder: str = ""
    """The working folder."""
    paths: Sequence[str] = ()
    """Where modules are looked for."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, plan: object, /) -> Parcel:
        """Return what another process needs for points, or whatever else holds blueprints.

        ValueError, in one line, where an object can't be sent.
        """
        objects = (
            {target: given_object(target) for target in dict.fromkeys(_given_targets(plan))} if any_given() else {}
        )
        return cls(
            objects=_pickled(list(objects.values())) if objects else b"",
            folder=os.getcwd(),
            paths=tuple(sys.path),
            environment=dict(os.environ),
        )

    def open(self) -> None:
        """Take over what was sent, in a process that was begun for it: this one stands where the other one does."""
        os.environ.clear()
        os.environ.update(self.environment)
        sys.path[:] = self.paths
        os.chdir(self.folder)
        self.take_objects()

    def take_objects(self) -> None:
        """Take over the objects alone, in a process that somebody else began, and maybe elsewhere."""
        if self.objects:
            import cloudpickle

            for given in cloudpickle.loads(self.objects):
                keep(given)


def why_not_sent(plan: object, /) -> str | None:
    """Return why objects that points need can't be sent to another process; None where they can."""
    try:
        Parcel.of(plan)
    except ValueError as error:
        return str(error)
    return None


def _pickled(objects: Sequence[Given]) -> bytes:
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps(list(objects)))
    except Exception as error:  # whatever an object makes of it
        names = ", ".join(given.name for given in objects)
        raise ValueError(f"{names} can't be sent to another process ({kind_and_line(error)})") from None


def _given_targets(value: Any) -> Iterator[str]:
    """Yield the names of given objects within plain data: points, their chains and teachers."""
    if isinstance(value, Blueprint):
        if is_given(value.target):
            yield value.target
        yield from _given_targets(value.options)
    elif isinstance(value, str):
        if is_given(value):
            yield value
    elif isinstance(value, Mapping):
        yield from _given_targets(list(value.values()))
    elif isinstance(value, list | tuple | set | frozenset):
        for part in value:
            yield from _given_targets(part)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for part in dataclasses.fields(value):
            yield from _given_targets(getattr(value, part.name))
