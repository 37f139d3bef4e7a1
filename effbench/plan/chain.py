"""Chains: all that decides a network, as plain data; and the key of the network after each of its steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import nn

from effbench.checks.fields import check_fields
from effbench.data import ImageData
from effbench.plan.blueprint import Blueprint
from effbench.plan.given_weights import may_be_path, network_identity
from effbench.plan.keys import prefix_keys, seed_of
from effbench.plan.source_code import is_own, sources_as_loaded
from effbench.plan.sources import build_network, fingerprint_of, load_data, load_task
from effbench.plan.stage import Stage
from effbench.tasks import Task


@dataclass(frozen=True)
class Step:
    """A stage at its place in a recipe; `occurrence` counts the steps of the same name from 0."""

    name: str
    stage: Stage
    occurrence: int = 0
    teacher: Chain | None = None
    """What makes the network that teaches the stage, where it learns from one."""

    def __str__(self) -> str:
        return f"{self.name}/{self.occurrence}" if self.occurrence else self.name

    def identity(self) -> dict[str, Any]:
        """Return what decides the step's result, given the network that it receives."""
        taught_by = {} if self.teacher is None else {"teacher": self.teacher.key}
        return {"step": str(self), **self.stage.identity(), **taught_by}


@dataclass(frozen=True, kw_only=True)
class Until:
    """When rounds end; all None: never.

    The first two step back to the network before the round that broke them; where the very first breaks them, that is
    the one that entered the rounds. "Accuracy" is the task's quality on the validation split.
    """

    max_loss: Annotated[float, Field(ge=0, lt=1, description="a fraction; 0.01 is one point")] | None = None
    """The most that accuracy may lie below that of the network that enters the rounds."""
    min_accuracy: Annotated[float, Field(ge=0, le=1, description="a fraction")] | None = None
    """The least accuracy."""
    min_change: Annotated[float, Field(gt=0, description="0.001 is a thousandth")] | None = None
    """The least change of the weights in a round, ‖w' - w‖ / ‖w‖; a round that changes less is the last one."""

    def __post_init__(self) -> None:
        """Refuse what is no bound."""
        check_fields(self)

    @property
    def is_never(self) -> bool:
        """Whether every round is run, whatever comes of it."""
        return self == Until()


@dataclass(frozen=True)
class Rounds:
    """Steps in rounds, of which as many are taken as `until` allows: a group of a recipe that chooses how far it goes.

    Written out, the rounds are the steps of the same recipe without an end, under the same keys: what one of them
    computed serves the other.
    """

    VERSION: ClassVar[int] = 1

    rounds: tuple[tuple[Step, ...], ...]
    until: Until = field(default_factory=Until)
    keeps_best: bool = False
    """Whether the network that is best on validation is taken, of those after each round and the one that enters."""
    reached: tuple[Mapping[str, float], ...] = ()
    """What the axes of the rounds' techniques come to after so many rounds, from none on: to be logged, no part of the
    identity."""

    def __str__(self) -> str:
        """Name the steps of a round and how often they may come."""
        how = "best of 0 to" if self.keeps_best else "up to"
        return f"{how} {len(self.rounds)} × ({' → '.join(step.name for step in self.rounds[0])})"

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of all rounds, in their order."""
        return tuple(step for steps in self.rounds for step in steps)

    def identity(self) -> dict[str, Any]:
        """Return what decides the result, given the network that enters."""
        return {
            "rounds": [[step.identity() for step in steps] for steps in self.rounds],
            "until": {name: bound for name, bound in dataclasses.asdict(self.until).items() if bound is not None},
            "version": self.VERSION,
            **({"keeps": "best"} if self.keeps_best else {}),
        }


Steps = tuple[Step | Rounds, ...]


def map_steps(steps: Steps, change: Callable[[Step], Step], /) -> Steps:
    """Return the steps, those within rounds too, each changed by a function."""
    return tuple(
        dataclasses.replace(step, rounds=tuple(tuple(map(change, group)) for group in step.rounds))
        if isinstance(step, Rounds)
        else change(step)
        for step in steps
    )


def _parts_with_sources(content: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every identity of a user's class or function within JSON-able data."""
    if isinstance(content, Mapping):
        if "sources" in content:
            yield content
        content = list(content.values())
    if isinstance(content, list):
        for part in content:
            yield from _parts_with_sources(part)


def _name_of(identity: Mapping[str, Any]) -> str:
    return str(identity.get("named", f"{identity['module']}.{identity['name']}"))


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A network from its initial weights through its steps: everything that decides the result, and nothing else."""

    network: Blueprint
    task: Blueprint
    data: Blueprint
    fingerprint: str
    """Of the data set: see `plan.sources.fingerprint_of`."""
    side: int
    """The side in pixels at which the network sees the data."""
    seed: int
    threads: int
    steps: Steps

    @cached_property
    def prefix_keys(self) -> tuple[str, ...]:
        """The keys of the fresh network and of the network after each step."""
        root = {
            "network": network_identity(self.network),
            "task": self.task.identity(),
            "data": self.fingerprint,
            "side": self.side,
            "seed": self.seed,
            "threads": self.threads,
            "torch": torch.__version__,
        }
        _ = self.user_code  # goes to the workers with the keys
        return prefix_keys(root, self.steps)

    @cached_property
    def user_code(self) -> dict[str, str]:
        """The sources of a user's that decide the network: their digest by the name of what needs them.

        As they were when this was first asked: in a worker, what the plan knew. Those of data are in the fingerprint.
        """
        parts = [self.network.identity(), self.task.identity(), *(step.identity() for step in self.plain_steps)]
        return {_name_of(part): str(part["sources"]) for part in _parts_with_sources(parts)}

    def check_code(self) -> None:
        """Refuse to compute with other code of a user's than was planned. ValueError names what was changed since."""
        with sources_as_loaded():
            loaded = dataclasses.replace(self).user_code if self.user_code else {}
            changed = [name for name, sources in self.user_code.items() if loaded.get(name) != sources]
            is_users = not (is_own(type(self.loaded_data())) and is_own(self.data.callable))
            if is_users and fingerprint_of(self.data) != self.fingerprint:
                changed.append(self.data.target)
        if changed:
            what = ", or the data that it gives" if is_users else ""
            raise ValueError(
                f"{changed[0]}: its code, or what it imports{what}, was changed after the sweep was planned (in a "
                "notebook: after it was imported); begin anew, and the same command computes it with the new code"
            )
        if self._names_a_file and dataclasses.replace(self).prefix_keys[0] != self.prefix_keys[0]:
            raise ValueError(
                f"{self.network.target}: a file that its options name was changed after the sweep was planned; begin "
                "anew, and the same command computes it with the new one"
            )
        for teacher in (step.teacher for step in self.plain_steps if step.teacher is not None):
            teacher.check_code()

    @property
    def _names_a_file(self) -> bool:
        return any(map(may_be_path, self.network.options.values()))

    @property
    def key(self) -> str:
        """The key of the network at the end."""
        return self.prefix_keys[-1]

    @property
    def plain_steps(self) -> tuple[Step, ...]:
        """The steps, with those of rounds that choose their number written out."""
        return tuple(plain for step in self.steps for plain in (step.steps if isinstance(step, Rounds) else (step,)))

    @property
    def shared_keys(self) -> tuple[str, ...]:
        """The keys of all networks that are made, the teachers' among them; not of the fresh one."""
        teachers = (step.teacher for step in self.plain_steps if step.teacher is not None)
        return (*(key for teacher in teachers for key in teacher.shared_keys), *self.prefix_keys[1:])

    def loaded_data(self) -> ImageData:
        """Return the data set."""
        return load_data(self.data)

    def loaded_task(self) -> Task:
        """Return the task."""
        return load_task(self.task)

    def fresh_network(self) -> nn.Module:
        """Return the network with the initial weights of this seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self.seed, "network"))
            return build_network(self.network, self.loaded_task(), self.loaded_data(), self.side)
