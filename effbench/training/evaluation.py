"""How good a network is on a split: example by example, as counts that can be summed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from effbench.analysis.curves.counts import QualityKind, quality_from_sums
from effbench.compression.modes import evaluating
from effbench.compression.structure.fusion import fused
from effbench.data import ImageData, Split
from effbench.tasks import Task

BATCH_SIZE = 64


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a network does on a split, in the split's fixed order."""

    counts: Mapping[str, NDArray[np.int64]]
    """By quality, the task's own first: numerators and denominators of each example, (n_examples, n_ratios, 2)."""
    kinds: Mapping[str, QualityKind]
    """By quality: how it follows from the sums of its counts."""
    direction: str
    """Whether a `higher` or a `lower` quality of the task is better."""
    loss: float
    """The mean over the examples, in the unit of the task's loss."""
    examples: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """What else the task knows of each example, (n_examples,) each; nothing unless it was asked for."""

    @property
    def qualities(self) -> dict[str, float]:
        """Every quality by its name."""
        return {name: float(quality_from_sums(self.counts[name].sum(0), kind)) for name, kind in self.kinds.items()}

    @property
    def own_counts(self) -> NDArray[np.int64]:
        """The counts of the task's own quality."""
        return next(iter(self.counts.values()))

    @property
    def quality(self) -> float:
        """The task's own quality."""
        return next(iter(self.qualities.values()))

    @property
    def score(self) -> float:
        """The task's own quality, turned so that higher is better."""
        return self.quality if self.direction == "higher" else -self.quality


def evaluate(
    model: nn.Module,
    data: ImageData,
    split: Split,
    /,
    *,
    task: Task,
    side: int,
    device: torch.device | None = None,
    with_examples: bool = False,
) -> Evaluation:
    """Run `model` over a split at `side` pixels, in evaluation mode; leaves the model's mode and place as they were.

    with_examples: whether the answer holds what the task knows of each example beside its counts.
    """
    with running(model, device or torch.device("cpu")) as outputs_of:
        return evaluate_outputs(outputs_of, data, split, task=task, side=side, with_examples=with_examples)


@contextmanager
def running(model: nn.Module, device: torch.device, /) -> Iterator[Callable[[Tensor], Tensor]]:
    """Give what returns a network's outputs for images, in evaluation mode; its mode and place are then as before."""
    home = next((p.device for p in model.parameters()), device)
    model.to(device)

    def outputs_of(images: Tensor) -> Tensor:
        outputs: Tensor = model(images.to(device=device, memory_format=torch.channels_last))
        return outputs.float()

    try:
        with torch.inference_mode(), evaluating(model), fused(model):
            yield outputs_of
    finally:
        model.to(home)


def evaluate_outputs(
    outputs_of: Callable[[Tensor], Tensor],
    data: ImageData,
    split: Split,
    /,
    *,
    task: Task,
    side: int,
    with_examples: bool = False,
) -> Evaluation:
    """Return how good the outputs are that a function gives for the images of a split, whatever computes them.

    It takes batches of images, (n, channels, side, side), in the split's order, and returns what the task compares.
    """
    counts: dict[str, list[Tensor]] = {}
    examples: dict[str, list[Tensor]] = {}
    total_loss = 0.0
    for images, targets in data.batches(split, side=side, batch_size=BATCH_SIZE):
        outputs = outputs_of(images)
        targets = targets.to(outputs.device)
        total_loss += task.summed_loss(outputs, targets).item()
        _append(counts, task.counts(outputs, targets))
        if with_examples:
            _append(examples, task.examples(outputs, targets))
    joined = {name: torch.cat(parts).numpy().astype(np.int64) for name, parts in counts.items()}
    return Evaluation(
        counts=joined,
        kinds=task.kinds(data),
        direction=task.quality(data).direction,
        loss=total_loss / data.n_examples(split),
        examples={name: torch.cat(parts).numpy() for name, parts in examples.items()},
    )


def _append(parts: dict[str, list[Tensor]], batch: Mapping[str, Tensor]) -> None:
    for name, values in batch.items():
        parts.setdefault(name, []).append(values.cpu())
