"""What a technique may ask for while it is applied."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from effbench.codec import Coder, encode
from effbench.compression.layers import Weight
from effbench.data import ImageData
from effbench.plan.findings import Findings
from effbench.plan.keys import seed_of
from effbench.plan.teacher import Teacher
from effbench.tasks import Task
from effbench.training.calibration import first_images
from effbench.training.evaluation import Evaluation
from effbench.training.gradients import sum_gradients
from effbench.training.input_moments import input_norms
from effbench.training.watch import Unwatched, Watch

if TYPE_CHECKING:
    from effbench.measure.compute import Cost

StepProgress = Callable[[int, int], None]
"""Called as progress(done, in_all)."""


def _no_snapshot(step: str) -> nn.Module:
    raise ValueError(f"{step}: no earlier network is at hand here")


def _no_teacher() -> Teacher:
    raise ValueError("no teacher is at hand here")


def _unwatched(model: nn.Module, part: str = "", *, scored: bool = True, beside: nn.Module | None = None) -> Watch:
    return Unwatched()


def _make_now(name: str, make: Callable[[], Tensor]) -> Tensor:
    return make()


def _no_evaluation(model: nn.Module) -> Evaluation:
    raise ValueError("no validation split is at hand here")


class BeginWatch(Protocol):
    """Is called before each training of a stage, with the network that is trained; see `Context.watch`."""

    def __call__(
        self, model: nn.Module, part: str = "", *, scored: bool = True, beside: nn.Module | None = None
    ) -> Watch:
        """Return what follows the training.

        part: tells it from the stage's other trainings. scored: whether the outputs are the task's. beside: a network
        that runs forward on every batch as well, as a teacher may.
        """


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a stage may ask for."""

    data: ImageData
    task: Task
    side: int
    """The side in pixels at which the network sees the data."""
    seed: int
    step: str
    """The stage's name in the recipe and which occurrence of it this is, as in "finetune/1"."""
    device: torch.device
    evaluate: Callable[[nn.Module], float]
    """How good a network is on the validation split: the task's quality, turned so that higher is better."""
    cost: Callable[[nn.Module], Cost]
    """What a network costs for one input: its multiply-adds and parameters."""
    progress: StepProgress | None = None
    snapshot: Callable[[str], nn.Module] = _no_snapshot
    """The network as it was after an earlier step of this name; "init" is the fresh one, its convolutions replaced
    where the recipe begins so. A new object every time. A stage that asks names the steps in its `asks_for`."""
    teacher: Callable[[], Teacher] = _no_teacher
    """The network that the stage learns from, as its `teacher_request` asked for it."""
    validate: Callable[[nn.Module], Evaluation] = _no_evaluation
    """How a network does on the validation split: `evaluate`, and its loss."""
    keep: Callable[[str, Callable[[], Tensor]], Tensor] = _make_now
    """Computes a tensor once for the network that the stage is given, and has the store keep it under a name. Runs
    whose stage is given the same network share it, whatever the stage's other fields. For example
    `context.keep("sensitivity-8-4", lambda: measure(model))` measures on the first call; a run at another budget, on
    the same trained network, gets what the first one measured."""
    watch: BeginWatch = _unwatched
    """watch(model) gives what `training.loop.fit` takes as `count`, `on_epoch` and `checkpoint`: the training then has
    curves and checkpoints, and what it takes is counted. A stage that trains more than once asks before each training,
    always in the same order, and names the parts."""
    findings: Findings = field(default_factory=Findings)
    """Where the stage puts metrics and tables for the run, beside the network that it returns."""

    def example(self) -> Tensor:
        """Return an input of the network: two images of the validation split, (2, channels, side, side)."""
        return next(self.data.batches("val", side=self.side, batch_size=2))[0]

    def training_images(self, n_examples: int, /, *, at_once: int = 250) -> Iterator[Tensor]:
        """Yield images of `n_examples` training examples, or of all, as evaluation sees them; in the stage's order."""
        batches = self.data.batches(
            "train", side=self.side, batch_size=at_once, generator=self.generator(), augmented=False
        )
        return first_images(batches, n_examples)

    def code_length(self, model: nn.Module, coder: Coder, /) -> int:
        """Return how many bytes the file of a network has: it is written, and thrown away."""
        return len(encode(model, coder=coder))

    def sum_gradients(
        self, model: nn.Module, tensors_of: Callable[[], Sequence[Tensor]], /
    ) -> tuple[list[Tensor], int]:
        """Return the summed gradients of tensors of `model` over training examples: see `training.gradients`."""
        return sum_gradients(
            model,
            tensors_of,
            self.data,
            task=self.task,
            side=self.side,
            device=self.device,
            generator=self.generator(),
        )

    def input_norms(self, model: nn.Module, weights: Sequence[Weight], /, *, n_examples: int) -> dict[str, Tensor]:
        """Return ||x||₂ of what weights of `model` are multiplied with: see `training.input_moments.input_norms`."""
        return input_norms(model, weights, self.training_images(n_examples), device=self.device)

    def generator(self) -> torch.Generator:
        """Return the stage's own random generator: made from the seed and the step, whatever ran before."""
        return torch.Generator().manual_seed(seed_of(self.seed, self.step))
