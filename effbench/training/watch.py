"""Who follows a training from outside: told of every epoch, and asked whether it is to go on from a state.

Following a training changes nothing in it, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from effbench.training.evaluation import Evaluation

State = Mapping[str, Any]
"""All that a training's next epochs depend on: numbers, text, tensors, and lists, tuples and mappings of these."""
Count = Callable[[Tensor, Tensor], Mapping[str, Tensor]]
"""Gives the counts of a batch by quality, from outputs and true targets, as `Task.counts` does."""


class UnfitState(ValueError):  # noqa: N818 (what is wrong with it, as in KeyError's kin)
    """A training can't go on from a state; it may have been changed, and has to begin anew."""


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """What is known of an epoch that has just ended."""

    epoch: int
    """Counted from 1."""
    n_epochs: int
    """How many there are to be."""
    loss: float
    """The mean over the epoch's examples, each as it was seen; the training fails where it is not finite."""
    counts: Mapping[str, Tensor]
    """By quality: the counts of the epoch's examples, each as it was seen, summed: int64 (n_ratios, 2). Empty unless
    they were asked for."""
    lr: float
    """The learning rate of the epoch's last step."""
    seconds: float
    n_examples: int
    """How many the training saw in it."""
    network: nn.Module
    """The network that would be kept, were the training to end now: for evaluation, while one is told of the epoch."""
    validation: Evaluation | None
    """Of the network that would be kept, where the training asks for it."""


class Watch(Protocol):
    """Follows one training: what `training.loop.fit` takes as `count`, `on_epoch` and `checkpoint`."""

    @property
    def count(self) -> Count | None:
        """What counts batches, for the epochs' qualities; None where nobody asks for them."""

    def on_epoch(self, record: EpochRecord, /) -> None:
        """Note what an epoch came to. Its network may be evaluated, not copied, and nothing in it changed."""

    def load(self) -> State | None:
        """Return the state from which the training is to go on; None: it begins."""

    def save(self, state: State, /) -> None:
        """Take the state after an epoch, to be kept if it is time. Its tensors are the training's own."""


class Unwatched:
    """Follows nothing."""

    count = None

    def on_epoch(self, record: EpochRecord, /) -> None:
        """Note nothing."""

    def load(self) -> State | None:
        """Return that the training begins."""
        return None

    def save(self, state: State, /) -> None:
        """Keep nothing."""
