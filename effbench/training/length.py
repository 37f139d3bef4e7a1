"""How long a training is, in epochs and steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

from effbench.data import ImageData
from effbench.training.options import TrainingOptions


@dataclass(frozen=True, kw_only=True)
class Length:
    """How long a training is."""

    epochs: int
    n_examples: int
    """In an epoch."""
    batch_size: int

    @classmethod
    def of(cls, options: TrainingOptions, data: ImageData, /) -> Length:
        """Return how long a training with these options is."""
        n_examples = max(1, round(options.fraction * data.n_examples("train")))
        return cls(epochs=options.epochs, n_examples=n_examples, batch_size=options.batch_size)

    @property
    def batches_per_epoch(self) -> int:
        """The batches of an epoch, one of a single example included."""
        return math.ceil(self.n_examples / self.batch_size)

    @property
    def steps_per_epoch(self) -> int:
        """The steps of an epoch: a last batch of one example is left out, as batch norm has no variance of it."""
        is_single = self.n_examples > 1 and self.n_examples % self.batch_size == 1 and self.batch_size > 1
        return self.batches_per_epoch - is_single

    @property
    def n_batches(self) -> int:
        """The batches of all epochs."""
        return self.epochs * self.batches_per_epoch

    @property
    def n_steps(self) -> int:
        """The steps of all epochs."""
        return self.epochs * self.steps_per_epoch
