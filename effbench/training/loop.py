"""The one training loop. Every stage that trains goes through it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from effbench.checks.errors import kind_and_line
from effbench.compression.structure.fusion import fused
from effbench.compression.structure.held_masks import HeldMasks, masked_after_steps
from effbench.data import ImageData
from effbench.training.batch_changes import BatchChanges
from effbench.training.evaluation import Evaluation
from effbench.training.freezing import frozen
from effbench.training.layout import set_layout
from effbench.training.length import Length
from effbench.training.options import TrainingOptions
from effbench.training.rate_pressure import CodeLength
from effbench.training.schedules import rate_of
from effbench.training.trainer import Loss, Trainer
from effbench.training.watch import EpochRecord, UnfitState

__all__ = ["Checkpoint", "EpochProgress", "EpochRecord", "Fit", "Loss", "TrainingOptions", "fit"]

EpochProgress = Callable[[int, int], None]
"""Called as progress(steps_done, steps_in_all)."""


class Checkpoint(Protocol):
    """Where a training is kept at each epoch's end, so that it can go on from there."""

    def load(self) -> Mapping[str, Any] | None:
        """Return the state that was saved last; None where there is none."""

    def save(self, state: Mapping[str, Any], /) -> None:
        """Keep a state (`Trainer.state_dict`). Its tensors are those of the training, which goes on to change them."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What came of a training."""

    peak_bytes: int
    """The most bytes of tensors alive at once in its steps (`memory`); 0 where there are none."""
    n_epochs: int
    """How many were run."""
    stopped_early: bool
    """Whether validation was no better for as long as it may."""
    best_epoch: int
    """The epoch that was best on validation, counted from 1; 0 where validation was not looked at."""


def fit(
    model: nn.Module,
    data: ImageData,
    options: TrainingOptions,
    /,
    *,
    side: int,
    generator: torch.Generator,
    device: torch.device,
    loss: Loss,
    by_number: bool = False,
    progress: EpochProgress | None = None,
    validate: Callable[[nn.Module], Evaluation] | None = None,
    count: Callable[[Tensor, Tensor], Mapping[str, Tensor]] | None = None,
    on_epoch: Callable[[EpochRecord], None] | None = None,
    checkpoint: Checkpoint | None = None,
    code_length: CodeLength | None = None,
) -> Fit:
    """Train `model` in place on the training split at `side`, then leave it on the CPU in the default layout.

    The order of examples, augmentation and dropout are drawn from `generator`. Constraints that follow the training (a
    mask that closes gradually) are told of every step. `by_number`: the loss gets the examples' numbers in the place of
    their targets. `progress` and `validate` may evaluate the model, not copy it (`held_masks`). validate: how a network
    does on validation, for options that ask for it. count: the counts of outputs and labels, summed for `on_epoch`.
    code_length: what tells how long codes are in the file; without it learned grids are under no pressure.
    FloatingPointError when the loss is not finite.
    """
    set_layout(model.to(device), options.layout)
    model.train()
    length = Length.of(options, data)
    is_pressed = code_length is not None
    with frozen(model, options.freeze):
        trainer = Trainer(
            model, options, length=length, loss=loss, generator=generator, device=device, is_pressed=is_pressed
        )
        cuda = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda), fused(model), masked_after_steps(model) as masks:
            # Layers with a random forward pass (dropout) draw from the global generator.
            seed = int(torch.randint(2**62, (), generator=generator))
            torch.manual_seed(seed)
            changes = BatchChanges(options, data, side, seed, by_number=by_number)
            run = _Run(trainer, data, side, changes, progress, validate, count, code_length)
            state = None if checkpoint is None else checkpoint.load()
            if state is not None:
                _resume(trainer, state)
            elif trainer.pressure is not None and code_length is not None:
                trainer.pressure.calibrate(code_length)
            while trainer.n_epochs_done < options.epochs and not trainer.stopping.is_over:
                record = run.epoch(masks)
                if on_epoch is not None:
                    on_epoch(record)
                if not math.isfinite(record.loss):
                    raise FloatingPointError(
                        f"the loss is {record.loss} in epoch {record.epoch}: a lower lr may help (lr={options.lr})"
                    )
                if checkpoint is not None:
                    checkpoint.save(trainer.state_dict())
            trainer.finish()
    if length.n_batches:
        trainer.settle()
    set_layout(model.to("cpu"), "contiguous")
    model.eval()
    return Fit(
        peak_bytes=trainer.memory.peak_bytes,
        n_epochs=trainer.n_epochs_done,
        stopped_early=trainer.stopping.is_over and trainer.n_epochs_done < options.epochs,
        best_epoch=trainer.stopping.best_epoch,
    )


def _resume(trainer: Trainer, state: Mapping[str, Any]) -> None:
    """Go on from a state. UnfitState where it is none of this training: the network may hold parts of it then."""
    try:
        trainer.load_state_dict(state)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RuntimeError) as error:
        raise UnfitState(kind_and_line(error)) from error


@dataclass(frozen=True)
class _Run:
    """A training's way through the data, epoch by epoch."""

    trainer: Trainer
    data: ImageData
    side: int
    changes: BatchChanges
    progress: EpochProgress | None
    validate: Callable[[nn.Module], Evaluation] | None
    count: Callable[[Tensor, Tensor], Mapping[str, Tensor]] | None
    code_length: CodeLength | None

    def epoch(self, masks: HeldMasks) -> EpochRecord:
        """Train for one epoch, and return what it was like."""
        trainer, began, rate = self.trainer, time.perf_counter(), 0.0
        exact = torch.float32 if trainer.device.type == "mps" else torch.float64
        total, n_seen, counts = torch.zeros((), dtype=exact, device=trainer.device), 0, dict[str, Tensor]()
        for images, targets in self._batches():
            if len(targets) == 1 and trainer.length.n_examples > 1:
                continue  # batch norm has no variance of one example
            batch, rate = [images, targets], rate_of(trainer.optimizer)
            del images
            trainer.step(batch, masks)
            total.add_(trainer.value.detach(), alpha=len(targets))
            n_seen += len(targets)
            if self.count is not None:
                self._add(counts, trainer.outputs.detach(), targets)
            if self.progress is not None:
                self.progress(trainer.n_steps_done, trainer.length.n_batches)
        if trainer.pressure is not None and self.code_length is not None:
            trainer.pressure.calibrate(self.code_length)
        mean = total.item() / max(1, n_seen)
        trainer.n_epochs_done += 1
        return EpochRecord(
            epoch=trainer.n_epochs_done,
            n_epochs=trainer.length.epochs,
            loss=mean,
            counts={name: summed.cpu() for name, summed in counts.items()},
            lr=rate,
            seconds=time.perf_counter() - began,
            n_examples=n_seen,
            network=trainer.network,
            validation=self._watch(mean) if math.isfinite(mean) else None,
        )

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        options = self.trainer.options
        batches = self.data.batches(
            "train",
            side=self.side,
            batch_size=options.batch_size,
            generator=self.trainer.generator,
            augmented=self.changes.leaves_images,
            fraction=options.fraction,
            numbered=self.changes.asks_for_numbers,
        )
        return batches if self.changes.are_none else self.changes.of(batches, self.trainer.n_epochs_done)

    def _add(self, counts: dict[str, Tensor], outputs: Tensor, targets: Tensor) -> None:
        assert self.count is not None
        labels = self.changes.labels_of(targets)
        for name, values in self.count(outputs.float(), labels.to(outputs.device)).items():
            summed = values.sum(0)
            counts[name] = summed if name not in counts else counts[name] + summed

    def _watch(self, loss: float) -> Evaluation | None:
        """Evaluate the network, where the options ask for it, and tell the schedule and the early stopping."""
        trainer = self.trainer
        schedule = trainer.schedule
        is_watched = trainer.options.watches_validation or schedule.watches is not None
        evaluation = None
        if self.validate is not None and is_watched:
            with torch.random.fork_rng(devices=[trainer.device] if trainer.device.type == "cuda" else []):
                evaluation = self.validate(trainer.network)
        watched = (loss, -loss) if evaluation is None else (evaluation.loss, evaluation.score)
        schedule.after_epoch(None if schedule.watches is None else watched[schedule.watches == "quality"])
        if evaluation is not None and trainer.options.watches_validation:
            trainer.judge(evaluation.score)
        return evaluation
