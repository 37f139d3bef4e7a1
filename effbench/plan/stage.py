"""A recipe is stages in order: what a stage is, what it may ask for, and the key of every prefix of them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from effbench.data import ImageData
from effbench.plan.findings import Findings
from effbench.plan.teacher import Teacher
from effbench.training.evaluation import Evaluation

if TYPE_CHECKING:
    from effbench.plan.point import Point

Progress = Callable[[int, int], None]


class Stage(Protocol):
    """One technique: a frozen dataclass whose fields are all that decides its result.

    `VERSION` is bumped when the results of equal fields change.
    """

    VERSION: ClassVar[int]

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return the network that the stage makes of `model`, which it leaves alone."""


def _no_snapshot(step: str) -> nn.Module:
    raise ValueError(f"{step}: no earlier network is at hand here")


def _no_teacher() -> Teacher:
    raise ValueError("no teacher is at hand here")


def _make_now(name: str, make: Callable[[], Tensor]) -> Tensor:
    return make()


def _no_evaluation(model: nn.Module) -> Evaluation:
    raise ValueError("no validation split is at hand here")


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
    snapshot: Callable[[str], nn.Module] = _no_snapshot
    """The network as it was after an earlier step of this name; "init" is the fresh one. A new object every time. A
    stage that asks names the steps in its `asks_for`."""
    teacher: Callable[[], Teacher] = _no_teacher
    """The network that the stage learns from: that of its step's `teacher`."""
    validate: Callable[[nn.Module], Evaluation] = _no_evaluation
    """How a network does on the validation split: `evaluate`, and its loss."""
    keep: Callable[[str, Callable[[], Tensor]], Tensor] = _make_now
    """keep(name, make) -> the tensor that is kept under that name for the network which the stage is given; where there
    is none, the one that make() gives. For what stages of other fields measure of the same network, too."""
    findings: Findings = field(default_factory=Findings)
    """Where the stage puts metrics and tables for the run, beside the network that it returns."""

    def example(self) -> Tensor:
        """Return an input of the network: two images of the validation split, (2, channels, side, side)."""
        return next(self.data.batches("val", side=self.side, batch_size=2))[0]

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
    teacher: Point | None = None
    """The run whose network teaches the stage, where it learns from one."""

    def __str__(self) -> str:
        return f"{self.name}/{self.occurrence}" if self.occurrence else self.name

    def identity(self) -> dict[str, Any]:
        """Return what decides the step's result, given the model that it receives."""
        kind = type(self.stage)
        fields = dataclasses.asdict(self.stage)  # type: ignore[call-overload]
        taught_by = {} if self.teacher is None else {"teacher": self.teacher.prefix_keys[-1]}
        return {
            "step": str(self),
            "stage": f"{kind.__module__}.{kind.__qualname__}",
            "version": kind.VERSION,
            "fields": fields,
            **taught_by,
        }


class Identified(Protocol):
    """A step, or several of them."""

    def identity(self) -> dict[str, Any]:
        """Return what decides the result, given the model that it receives."""


def prefix_keys(root: Mapping[str, Any], steps: Sequence[Identified], /) -> tuple[str, ...]:
    """Return the key of the fresh network and of the network after each step: each holds all that came before."""
    fresh = digest(root)
    return (fresh, *prefix_keys_after(fresh, steps))


def prefix_keys_after(key: str, steps: Sequence[Identified], /) -> tuple[str, ...]:
    """Return the key of the network after each step, where that before the first one has `key`."""
    keys = [key]
    for step in steps:
        keys.append(digest({"after": keys[-1], **step.identity()}))
    return tuple(keys[1:])


def digest(content: Mapping[str, Any], /) -> str:
    """Return a key for JSON-able content: equal content, equal key."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()[:20]
