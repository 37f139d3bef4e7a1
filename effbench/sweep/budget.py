"""How long each run was trained: comparisons are fair among runs of one budget."""

from __future__ import annotations

from collections.abc import Sequence

from effbench.plan.point import Point
from effbench.plan.training_stage import TrainingStage
from effbench.sweep.shares import listed
from effbench.training.length import Length


def budget_lines(points: Sequence[Point], /) -> list[str]:
    """Return one line where all points have the same budget of training, else a line for each budget.

    What trains a teacher is no part of it. Of rounds that may end early, and of a reference's finetunings, of which the
    best is taken, it is what they can come to.
    """
    labels: dict[str, dict[str, None]] = {}
    for point in points:
        labels.setdefault(_budget(point), {})[point.label] = None
    if len(labels) == 1:
        return [f"budget of every run: {budget}" for budget in labels]
    return [f"budget of {listed(list(found))}: {budget}" for budget, found in labels.items()]


def _budget(point: Point) -> str:
    """Write how long a point is trained, in the order of its steps; those of one name together."""
    data = point.chain.loaded_data()
    lengths: dict[str, list[Length]] = {}
    for step in point.chain.plain_steps:
        if isinstance(step.stage, TrainingStage) and step.stage.epochs:
            lengths.setdefault(step.name, []).append(Length.of(step.stage, data))
    told, last = [], ""
    for name, own in lengths.items():
        epochs = sum(length.epochs for length in own)
        batches = f" of {own[0].n_examples:,} examples in batches of {own[0].batch_size}"
        told.append(f"{name} {epochs} epoch{'s' * (epochs != 1)}{batches if batches != last else ''}")
        last = batches
    return ", ".join(told) or "no training"
