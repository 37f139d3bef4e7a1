"""Rounds that go on until accuracy breaks, run: how far they go is found on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from effbench.compression.constraints.stack import bake
from effbench.plan.chain import Rounds, Until


@dataclass(frozen=True)
class RoundsOutcome:
    """The network that rounds led to, after how many of them, and why no more: floor, change, best or none."""

    model: nn.Module
    n_done: int
    stopped_by: Literal["floor", "change", "best", "none"]


def run_rounds(
    rounds: Rounds,
    model: nn.Module,
    /,
    *,
    evaluate: Callable[[nn.Module], float],
    take: Callable[[nn.Module, int], nn.Module],
) -> RoundsOutcome:
    """Run rounds until the end, and return the last good network; the best one where `rounds` keeps that.

    evaluate: gives the quality on validation, higher is better. take(model, n) runs round n, counted from 0, on what
    the one before made.
    """
    if rounds.keeps_best:
        return _best(len(rounds.rounds), model, evaluate, take)
    floor = _floor(rounds.until, model, evaluate)
    for number in range(len(rounds.rounds)):
        candidate = take(model, number)
        if floor is not None and evaluate(candidate) < floor - 1e-9:  # 0.97 - 0.02 is not quite 0.95 in floats
            return RoundsOutcome(model, number, "floor")
        least = rounds.until.min_change
        has_settled = least is not None and change(model, candidate) < least
        model = candidate
        if has_settled:
            return RoundsOutcome(model, number + 1, "change")
    return RoundsOutcome(model, len(rounds.rounds), "none")


def _best(
    n_rounds: int,
    model: nn.Module,
    evaluate: Callable[[nn.Module], float],
    take: Callable[[nn.Module, int], nn.Module],
) -> RoundsOutcome:
    """Run all rounds, and return the best network of those after each and the one that enters; of equals the first."""
    best, best_score, n_done = model, evaluate(model), 0
    for number in range(n_rounds):
        model = take(model, number)
        score = evaluate(model)
        if score > best_score:
            best, best_score, n_done = model, score, number + 1
    return RoundsOutcome(best, n_done, "best")


def _floor(until: Until, model: nn.Module, evaluate: Callable[[nn.Module], float]) -> float | None:
    """Return the least quality that rounds may leave; None where they may leave any."""
    bounds = [] if until.min_accuracy is None else [until.min_accuracy]
    if until.max_loss is not None:
        bounds.append(evaluate(model) - until.max_loss)
    return max(bounds, default=None)


def change(before: nn.Module, after: nn.Module, /) -> float:
    """Return ‖w' - w‖ / ‖w‖ over all parameters as they are in use; infinity where their shapes differ."""
    # By name: the order of parameters is not that of the network once a constraint has been baked in.
    old, new = ({n: p.detach().double() for n, p in bake(m).named_parameters()} for m in (before, after))
    if {n: p.shape for n, p in old.items()} != {n: p.shape for n, p in new.items()}:
        return math.inf
    norm = _norm(old.values())
    moved = _norm([new[name] - tensor for name, tensor in old.items()])
    return moved / norm if norm > 0 else (0.0 if moved == 0 else math.inf)


def _norm(tensors: Iterable[Tensor]) -> float:
    return math.sqrt(sum(float(torch.sum(t * t)) for t in tensors))
