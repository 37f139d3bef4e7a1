"""What another process of effbench's needs of this one: objects that a program gave, and where it stands.

Objects that can't be imported (classes typed into a notebook, lambdas) go by value, as cloudpickle writes them: through
the pipe to a process that effbench itself began, or through the launcher that a command names, and never into a file.
Nothing else in effbench reads what could run code.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from effbench.checks.errors import kind_and_line
from effbench.plan.blueprint import Blueprint
from effbench.plan.given import Given, any_given, given_object, is_given, keep, name_of
from effbench.plan.point import Point

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Variables that say on how many threads libraries compute."""
_OF_THE_MACHINE = re.compile(
    r"(RAY|SLURM|SLURMD|SUBMITIT|CUDA|NVIDIA|ROCR|HIP|LOKY|JOBLIB|EFFBENCH_FORKSERVER|SSH|XDG|DBUS|LC|LD)_.*"
    r"|PATH|HOME|USER|LOGNAME|SHELL|TERM|LANG|PWD|OLDPWD|SHLVL|TMPDIR|TMP|TEMP|DISPLAY|HOSTNAME|PYTHONHOME|VIRTUAL_ENV|_"
)
"""Variables that tell of a machine, a login or a scheduler's job: they mean nothing elsewhere."""


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
    def of(cls, plan: object, /, *, with_environment: bool = True) -> Parcel:
        """Return what another process needs for points, or whatever else holds blueprints.

        with_environment: whether the variables go with it, passwords among them: never into a file. ValueError, in one
        line, where an object can't be sent.
        """
        objects = (
            {target: given_object(target) for target in dict.fromkeys(_given_targets(plan))} if any_given() else {}
        )
        return cls(
            objects=_pickled(list(objects.values())) if objects else b"",
            folder=os.getcwd(),
            paths=tuple(sys.path),
            environment=dict(os.environ) if with_environment else {},
        )

    def open(self) -> None:
        """Take over what was sent, in a process that was begun for it: this one stands where the other one does."""
        os.environ.clear()
        os.environ.update(self.environment)
        sys.path[:] = self.paths
        os.chdir(self.folder)
        self.take_objects()

    def join(self) -> None:
        """Take over what was sent in a process that somebody else began, perhaps on another machine.

        What is the machine's own stays, as does what its scheduler says of the process. OSError where the working
        folder is not there.
        """
        ours = {name: value for name, value in os.environ.items() if _is_of_the_machine(name)}
        theirs = {name: value for name, value in self.environment.items() if not _is_of_the_machine(name)}
        for name in THREADS:  # a scheduler sets them by the cores that it gives; runs have a number of their own
            os.environ.pop(name, None)
        os.environ.update({**theirs, **ours})
        sys.path[:0] = [path for path in self.paths if path and path not in sys.path]
        os.chdir(self.folder)
        self.take_objects()

    def take_objects(self) -> None:
        """Take over the objects alone."""
        if self.objects:
            import cloudpickle

            for given in cloudpickle.loads(self.objects):
                keep(given)


def _is_of_the_machine(name: str) -> bool:
    return _OF_THE_MACHINE.fullmatch(name) is not None


def seal(content: object, /) -> bytes:
    """Return a job, or what belongs to it, as bytes: it may be importable only where a parcel has been opened."""
    import cloudpickle

    return bytes(cloudpickle.dumps(content))


def unseal_point(content: bytes, /) -> Point:
    """Return the point that this program has sealed."""
    import cloudpickle

    point = cloudpickle.loads(content)
    assert isinstance(point, Point)
    return point


def carrier() -> Callable[[Sequence[str], bytes, bytes], Any]:
    """Return a function that calls what was sealed with an argument that was, where their modules are found.

    It goes by value to a process that was not begun as this one was, and may not find effbench itself.
    """

    def carry(paths: Sequence[str], called: bytes, argument: bytes) -> Any:
        import sys

        sys.path[:0] = [path for path in paths if path and path not in sys.path]
        import cloudpickle

        return cloudpickle.loads(called)(cloudpickle.loads(argument))

    return carry


def given_names(plan: object, /) -> list[str]:
    """Return the names of the objects that a plan needs and that a program has given."""
    return [name_of(target) for target in dict.fromkeys(_given_targets(plan))] if any_given() else []


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
