"""A recipe written out as steps, and rounds that go on until accuracy breaks: a group as one step that chooses how far.

Written out, such rounds are the steps of the same recipe without an end, under the same keys: what one of them computed
serves the other. The step itself only chooses a prefix of them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from effbench.compression.constraints.stack import bake
from effbench.plan.stage import Stage, Step


@dataclass(frozen=True, kw_only=True)
class Until:
    """When rounds end; all None: never.

    The first two step back to the network before the round that broke them; where the very first breaks them, that is
    the one that entered the rounds. Accuracies are those on the validation split.
    """

    max_loss: float | None = None
    """The most that accuracy may lie below that of the network that enters the rounds, a fraction in [0, 1)."""
    min_accuracy: float | None = None
    """The least accuracy, a fraction in [0, 1]."""
    min_change: float | None = None
    """The least change of the weights in a round, ‖w' - w‖ / ‖w‖; a round that changes less is the last one."""

    def __post_init__(self) -> None:
        """Refuse what is no bound."""
        if self.max_loss is not None and not 0 <= self.max_loss < 1:
            raise ValueError(f"max_loss={self.max_loss}: must be in [0, 1), a fraction; 0.01 is one point")
        if self.min_accuracy is not None and not 0 <= self.min_accuracy <= 1:
            raise ValueError(f"min_accuracy={self.min_accuracy}: must be a fraction, 0 to 1")
        if self.min_change is not None and not (math.isfinite(self.min_change) and self.min_change > 0):
            raise ValueError(f"min_change={self.min_change}: must be above 0; 0.001 is a thousandth")

    @property
    def is_never(self) -> bool:
        """Whether every round is run, whatever comes of it."""
        return self == Until()


@dataclass(frozen=True)
class Rounds:
    """Steps in rounds, of which as many are taken as `until` allows."""

    VERSION: ClassVar[int] = 1

    rounds: tuple[tuple[Step, ...], ...]
    until: Until

    def __str__(self) -> str:
        """Name the steps of a round and how often they may come."""
        return f"up to {len(self.rounds)} × ({' → '.join(step.name for step in self.rounds[0])})"

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of all rounds, in their order."""
        return tuple(step for steps in self.rounds for step in steps)

    def identity(self) -> dict[str, Any]:
        """Return what decides the result, given the model that enters."""
        return {
            "rounds": [[step.identity() for step in steps] for steps in self.rounds],
            "until": dataclasses.asdict(self.until),
            "version": self.VERSION,
        }

    def go(
        self, model: nn.Module, evaluate: Callable[[nn.Module], float], take: Callable[[nn.Module, int], nn.Module], /
    ) -> nn.Module:
        """Run rounds until the end, and return the last good network.

        evaluate: gives the accuracy on validation. take(model, n) runs round n, counted from 0, on what the one before
        made.
        """
        floor = self._floor(model, evaluate)
        for number in range(len(self.rounds)):
            candidate = take(model, number)
            if floor is not None and evaluate(candidate) < floor - 1e-9:  # 0.97 - 0.02 is not quite 0.95 in floats
                return model
            has_settled = self.until.min_change is not None and change(model, candidate) < self.until.min_change
            model = candidate
            if has_settled:
                break
        return model

    def _floor(self, model: nn.Module, evaluate: Callable[[nn.Module], float]) -> float | None:
        bounds = [] if self.until.min_accuracy is None else [self.until.min_accuracy]
        if self.until.max_loss is not None:
            bounds.append(evaluate(model) - self.until.max_loss)
        return max(bounds, default=None)


def change(before: nn.Module, after: nn.Module, /) -> float:
    """Return ‖w' - w‖ / ‖w‖ over all parameters as they are in use; infinity where their shapes differ."""
    # By name: the order of parameters is not that of the network once a constraint has been baked in.
    one, other = ({n: p.detach().double() for n, p in bake(m).named_parameters()} for m in (before, after))
    if {n: p.shape for n, p in one.items()} != {n: p.shape for n, p in other.items()}:
        return math.inf
    norm = _norm(one.values())
    moved = _norm([other[name] - old for name, old in one.items()])
    return moved / norm if norm > 0 else (0.0 if moved == 0 else math.inf)


def _norm(tensors: Iterable[Tensor]) -> float:
    return math.sqrt(sum(float(torch.sum(t * t)) for t in tensors))


Entry = str | Sequence[str]
Chooser = Callable[[str, int, int], Sequence[tuple[str, Stage]]]
"""chooser(entry, round, n_rounds) -> the named stages that stand there; none for a technique at its neutral value."""


def lay_out(
    entries: Sequence[Entry], choose: Chooser, /, *, rounds: int, until: Until | None = None
) -> tuple[Step | Rounds, ...]:
    """Write a recipe out as steps.

    Each entry names a stage or a phase of stages. A list of entries is a group that is repeated `rounds` times, as in
    [train, [prune, finetune], quantize]; what stands outside a group stands in the only round of one. Where `until`
    says when rounds end, a group is one step that chooses how many of them to take. ValueError where a stage asks for a
    step that is not before it, and where `until` finds no group.
    """
    until = until or Until()
    if not until.is_never and all(isinstance(entry, str) for entry in entries):
        raise ValueError(
            "recipe.until: says when rounds end, and the recipe has none; write a group, as in [prune, finetune]"
        )
    steps: list[Step | Rounds] = []
    seen: dict[str, int] = {}

    def place(entry: str, position: int, n_rounds: int) -> Iterator[Step]:
        for name, stage in choose(entry, position, n_rounds):
            yield Step(name, stage, seen.get(name, 0))
            seen[name] = seen.get(name, 0) + 1

    for entry in entries:
        if isinstance(entry, str):
            steps += place(entry, 1, 1)
            continue
        written = [tuple(step for name in entry for step in place(name, k, rounds)) for k in range(1, rounds + 1)]
        if until.is_never or not any(written):
            steps += (step for group in written for step in group)
        else:
            steps.append(Rounds(tuple(written), until))
    _check_what_is_asked_for(steps, {"init"})
    return tuple(steps)


def _check_what_is_asked_for(steps: Sequence[Step | Rounds], behind: set[str]) -> None:
    """Refuse a stage that asks for the network after a step that is not behind it."""
    for step in steps:
        if isinstance(step, Rounds):
            _check_what_is_asked_for(step.steps, set(behind))
            continue
        for name in getattr(step.stage, "asks_for", ()):
            if name not in behind:
                known = ", ".join(sorted(behind))
                raise ValueError(
                    f"{step}: asks for the network at {name!r}, which is no step before it; there are {known}"
                )
        behind.add(str(step))
