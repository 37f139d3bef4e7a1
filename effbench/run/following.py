"""A step that trains, followed: its curves, what it takes, and the checkpoints from which it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import nn

from effbench.data import ImageData
from effbench.plan.spent import PASSES
from effbench.plan.watching import Watching
from effbench.run.checkpoints import Checkpoints, delete_checkpoints
from effbench.run.stopwatch import Stopwatch
from effbench.run.store import Store
from effbench.tasks import Task
from effbench.training.curves import Row, measured
from effbench.training.evaluation import Evaluation
from effbench.training.watch import Count, EpochRecord, State, UnfitState

Tell = Callable[[Row], None]
"""Is told of every epoch."""


@dataclass(kw_only=True)
class Following:
    """Follows the trainings of one step, one after the other."""

    name: str
    """The step's, as curves are called."""
    step: str
    """The step's with its occurrence, which no other step of the chain has."""
    key: str
    """Of the network that the step makes."""
    store: Store
    device: torch.device
    how: Watching
    task: Task
    data: ImageData
    count_macs: Callable[[nn.Module], int | None]
    validate: Callable[[nn.Module], Evaluation]
    watch: Stopwatch
    """Of the step."""
    n_before: int
    """Epochs of the steps before."""
    resumes: bool = True
    """Whether its trainings go on from checkpoints."""
    tell: Tell | None = None
    trainings: list[TrainingWatch] = field(default_factory=list)

    def begin(
        self, model: nn.Module, part: str = "", *, scored: bool = True, beside: nn.Module | None = None
    ) -> TrainingWatch:
        """Return what follows the next training: see `plan.context.BeginWatch`."""
        self.tell_the_rest()
        training = TrainingWatch(self, model, part, scored=scored, beside=beside)
        self.trainings.append(training)
        return training

    def tell_the_rest(self) -> None:
        """Tell of the epochs of a training that was whole already, in its checkpoint."""
        for training in self.trainings:
            training.tell()

    def give_up(self, why: UnfitState) -> None:
        """Say that a checkpoint can't be gone on from, and delete those of the step."""
        self.store.give_up(self.trainings[-1].checkpoint, str(why))
        delete_checkpoints(self.key, self.store)

    @property
    def n_epochs(self) -> int:
        """The epochs that ended, of the step."""
        return sum(training.n_epochs for training in self.trainings)

    @property
    def rows(self) -> list[Row]:
        """The step's curves."""
        return [row for training in self.trainings for row in training.rows]

    @property
    def seconds_before(self) -> float:
        """The time that the step took before it was ended and went on from a checkpoint."""
        return max((training.seconds_before for training in self.trainings), default=0.0)

    @property
    def macs(self) -> int | None:
        """Multiply-adds of the training passes, there and back; None where a network can't be counted."""
        return _sum([training.macs for training in self.trainings])

    @property
    def macs_beside(self) -> int | None:
        """Multiply-adds of the networks that ran beside those that were trained."""
        return _sum([training.macs_beside for training in self.trainings])


def _sum(counted: list[int | None]) -> int | None:
    return None if None in counted else sum(cast(list[int], counted))


class TrainingWatch:
    """Follows one training of a step; see `training.watch.Watch`."""

    def __init__(self, step: Following, model: nn.Module, part: str, *, scored: bool, beside: nn.Module | None) -> None:
        self._step = step
        self._checkpoints = Checkpoints.of(
            step.store, step.key, len(step.trainings), device=step.device, seconds=step.how.checkpoint
        )
        # Before the training: what the network is then is what is trained.
        self._macs_of_one = step.count_macs(model)
        self._macs_beside = 0 if beside is None else step.count_macs(beside)
        self._name = f"{step.name}/{part}" if part else step.name
        self._first = step.n_before + step.n_epochs
        self._kinds = step.task.kinds(step.data) if scored else {}
        self._n_told = 0
        self.n_epochs = 0
        self.n_examples = 0
        self.rows: list[Row] = []
        self.seconds_before = 0.0

    @property
    def checkpoint(self) -> str:
        """The name of its checkpoint."""
        return self._checkpoints.name

    @property
    def macs(self) -> int | None:
        """Multiply-adds of its passes."""
        return None if self._macs_of_one is None else PASSES * self._macs_of_one * self.n_examples

    @property
    def macs_beside(self) -> int | None:
        """Multiply-adds of the network that ran beside it."""
        return None if self._macs_beside is None else self._macs_beside * self.n_examples

    @property
    def count(self) -> Count | None:
        """The task's own counts, for the curves."""
        return self._step.task.counts if self._kinds and self._step.how.curves != "none" else None

    def on_epoch(self, record: EpochRecord, /) -> None:
        """Note an epoch, and tell of it."""
        how, step = self._step.how, self._step
        self.n_epochs, self.n_examples = record.epoch, self.n_examples + record.n_examples
        if how.curves == "none":
            return
        asks = how.curves == "validation" and self._kinds
        identity: Row = {"curve": self._name, "step": step.step, "epoch": self._first + record.epoch}
        found = measured(record, kinds=self._kinds, validate=(lambda: step.validate(record.network)) if asks else None)
        self.rows.append({**identity, **found})
        self.tell()

    def tell(self) -> None:
        """Tell of the epochs of which nobody was told yet: those from before a checkpoint too."""
        if self._step.tell is not None:
            for row in self.rows[self._n_told :]:
                self._step.tell(row)
        self._n_told = len(self.rows)

    def load(self) -> State | None:
        """Return the state at which an earlier process was ended."""
        kept = self._checkpoints.read() if self._step.resumes else None
        if kept is None:
            return None
        try:
            self.n_epochs, self.n_examples = int(kept["n_epochs"]), int(kept["n_examples"])
            self.rows, self.seconds_before = list(kept["rows"]), float(kept["seconds"])
            return cast(State, kept["state"])
        except (KeyError, TypeError, ValueError) as error:
            raise UnfitState(f"it lacks something ({error})") from None

    def save(self, state: State, /) -> None:
        """Keep the state, if it is time."""
        self._checkpoints.offer(
            lambda: {
                "n_epochs": self.n_epochs,
                "n_examples": self.n_examples,
                "rows": self.rows,
                "seconds": self._step.watch.seconds + self._step.seconds_before,
                "state": state,
            }
        )
