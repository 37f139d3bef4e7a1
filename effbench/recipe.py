"""Stages in order, and the key of every prefix of them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import nn

from effbench.data import ImageData

Progress = Callable[[int, int], None]


class Stage(Protocol):
    """One technique: a frozen dataclass whose fields are all that decides its result.

    `VERSION` is bumped when the results of equal fields change.
    """

    VERSION: ClassVar[int]

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return the network that the stage makes of `model`, which it leaves alone."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a stage may ask for."""

    data: ImageData
    side: int
    """The side in pixels at which the network sees the data."""
    seed: int
    step: str
    """The stage's name in the recipe and which occurrence of it this is, as in "finetune/1"."""
    device: torch.device
    evaluate: Callable[[nn.Module], float]
    """The accuracy of a network on the validation split."""
    cost: Callable[[nn.Module], Any]
    """The `Cost` of a network: its multiply-adds and parameters, for one input."""
    progress: Progress | None = None

    def generator(self) -> torch.Generator:
        """Return the stage's own random generator: made from the seed and the step, whatever ran before."""
        return torch.Generator().manual_seed(seed_of(self.seed, self.step))


def seed_of(seed: int, purpose: str) -> int:
    """Return a seed for one purpose, unrelated to the seeds for others."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:7], "big")


@dataclass(frozen=True)
class Step:
    """A stage at its place in a recipe; `occurrence` counts the steps of the same name from 0."""

    name: str
    stage: Stage
    occurrence: int = 0

    def __str__(self) -> str:
        return f"{self.name}/{self.occurrence}" if self.occurrence else self.name

    def identity(self) -> dict[str, Any]:
        """Return what decides the step's result, given the model that it receives."""
        kind = type(self.stage)
        fields = dataclasses.asdict(self.stage)  # type: ignore[call-overload]
        return {
            "step": str(self),
            "stage": f"{kind.__module__}.{kind.__qualname__}",
            "version": kind.VERSION,
            "fields": fields,
        }


Entry = str | Sequence[str]
Chooser = Callable[[str, int, int], Sequence[tuple[str, Stage]]]
"""chooser(entry, round, n_rounds) -> the named stages that stand there; none for a technique at its neutral value."""


def lay_out(entries: Sequence[Entry], choose: Chooser, /, *, rounds: int) -> tuple[Step, ...]:
    """Write a recipe out as steps.

    Each entry names a stage or a phase of stages. A list of entries is a group that is repeated `rounds` times, as in
    [train, [prune, finetune], quantize]; what stands outside a group stands in the only round of one.
    """
    steps: list[Step] = []
    seen: dict[str, int] = {}
    for entry, position, n_rounds in _rounds(entries, rounds):
        for name, stage in choose(entry, position, n_rounds):
            steps.append(Step(name, stage, seen.get(name, 0)))
            seen[name] = seen.get(name, 0) + 1
    return tuple(steps)


def _rounds(entries: Sequence[Entry], rounds: int) -> Iterator[tuple[str, int, int]]:
    for entry in entries:
        if isinstance(entry, str):
            yield entry, 1, 1
        else:
            for position in range(1, rounds + 1):
                yield from ((name, position, rounds) for name in entry)


def prefix_keys(root: Mapping[str, Any], steps: Sequence[Step], /) -> tuple[str, ...]:
    """Return the key of the fresh network and of the network after each step: each holds all that came before."""
    keys = [digest(root)]
    for step in steps:
        keys.append(digest({"after": keys[-1], **step.identity()}))
    return tuple(keys)


def digest(content: Mapping[str, Any], /) -> str:
    """Return a key for JSON-able content: equal content, equal key."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()[:20]
