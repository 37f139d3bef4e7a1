"""The learning rate over a training: a warm-up and a cosine, or any scheduler of torch's form."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CyclicLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
)

from effbench.checks.errors import kind_and_line
from effbench.training.length import Length
from effbench.training.optimizers import make_optimizer
from effbench.training.options import TrainingOptions, check_kind

WARM_UP_SHARE = 0.1
MOST_TRIED = 2_000
"""So many of the scheduler's own steps are tried before anything starts."""

Unit = Literal["step", "epoch"]


def unit_of(options: TrainingOptions, /) -> Unit:
    """Return after what the scheduler takes a step.

    As `schedule_by` says; else after each step of the optimiser where the class counts these (it takes `total_steps`,
    as OneCycleLR, or `step_size_up`, as CyclicLR), after each epoch where not.
    """
    if options.scheduler is None or options.schedule_by is not None:
        return options.schedule_by or "step"
    return "step" if any(map(options.scheduler.takes, ("total_steps", "step_size_up"))) else "epoch"


class Schedule:
    """The learning rate of a training: told of every step, and of every epoch's end."""

    def __init__(self, optimizer: Optimizer, options: TrainingOptions, length: Length) -> None:
        self.unit: Unit = unit_of(options)
        # A step that the loss scaling of float16 leaves out makes torch warn of the order of the two.
        self._is_plain = options.scheduler is None and options.precision != "float16"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.scheduler = _scheduler(optimizer, options, length, self.unit)

    @property
    def watches(self) -> Literal["loss", "quality"] | None:
        """What of an epoch the scheduler asks for, by its mode: the loss (`min`) or the quality (`max`)."""
        if not isinstance(self.scheduler, ReduceLROnPlateau):
            return None
        return "loss" if self.scheduler.mode == "min" else "quality"

    def after_step(self) -> None:
        """Move on after a step of the optimiser."""
        if self._is_plain:
            self.scheduler.step()
        elif self.unit == "step":
            self._step()

    def after_epoch(self, watched: float | None) -> None:
        """Move on after an epoch. watched: what `watches` names; None where it names nothing."""
        if self.unit == "epoch":
            self._step(*([] if watched is None else [watched]))

    def _step(self, *metrics: Any) -> None:
        with warnings.catch_warnings():  # some of torch's schedulers step others in a way that torch itself deprecates
            warnings.simplefilter("ignore")
            self.scheduler.step(*metrics)


def _scheduler(optimizer: Optimizer, options: TrainingOptions, length: Length, unit: Unit) -> LRScheduler:
    if options.scheduler is None:
        return LambdaLR(optimizer, warm_up_then_cosine(length.n_batches, _warm_up_batches(options, length)))
    n_all = length.n_steps if unit == "step" else length.epochs
    n_warm_up = _warm_up_units(options, length, unit)
    given, n_left = options.scheduler.options, max(1, n_all - n_warm_up)
    offered: dict[str, Any] = {"T_max": n_left, "max_lr": options.lr}
    if "epochs" not in given and "steps_per_epoch" not in given:
        offered["total_steps"] = n_left
    offered |= {"epochs": length.epochs, "steps_per_epoch": length.steps_per_epoch}
    main: object = options.scheduler.build(("optimizer", optimizer), **offered)
    if not isinstance(main, LRScheduler):
        raise ValueError(f"gives a {type(main).__name__}, not a torch.optim.lr_scheduler.LRScheduler")
    if isinstance(main, ReduceLROnPlateau) and unit == "step":
        raise ValueError("looks at whole epochs: schedule_by must be epoch, or null")
    if not n_warm_up:
        return main
    if isinstance(main, OneCycleLR | CyclicLR | ReduceLROnPlateau):
        raise ValueError(f"can't follow a warm-up: warm_up_epochs={options.warm_up_epochs:g} must be 0 or null")
    rise = LinearLR(optimizer, start_factor=1 / (n_warm_up + 1), total_iters=n_warm_up)
    return SequentialLR(optimizer, [rise, main], milestones=[n_warm_up])


def _warm_up_units(options: TrainingOptions, length: Length, unit: Unit) -> int:
    """Return the warm-up in the scheduler's own steps; a part of an epoch counts as one where it moves by epoch."""
    epochs = options.warm_up_epochs or 0.0
    return round(epochs * length.steps_per_epoch) if unit == "step" else math.ceil(epochs)


def _warm_up_batches(options: TrainingOptions, length: Length) -> int:
    if options.warm_up_epochs is None:
        return max(1, round(WARM_UP_SHARE * length.n_batches))
    return round(options.warm_up_epochs * length.batches_per_epoch)


def warm_up_then_cosine(n_steps: int, n_warm_up: int, /) -> Callable[[int], float]:
    """Return the factor on the learning rate as a function of the step."""

    def factor(step: int) -> float:
        if step < n_warm_up:
            return (step + 1) / n_warm_up
        return 0.5 * (1 + math.cos(math.pi * (step - n_warm_up) / max(1, n_steps - n_warm_up)))

    return factor


def check_schedule(options: TrainingOptions, length: Length, /) -> None:
    """Run the scheduler over a training of that length, or its first steps. ValueError where it can't."""
    if options.scheduler is None or not options.epochs:
        return
    target = options.scheduler.target
    check_kind("scheduler", options.scheduler, LRScheduler, "torch.optim.lr_scheduler.LRScheduler")
    model = nn.Linear(2, 2, bias=False)
    optimizer = make_optimizer(model, options)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            schedule = Schedule(optimizer, options, length)
            _run(schedule, optimizer, length)
    except ValueError as error:
        raise ValueError(f"scheduler: {target}: {' '.join(str(error).split())}") from None
    except Exception as error:  # whatever a class makes of its options
        raise ValueError(f"scheduler: {target}: {kind_and_line(error)}") from None


def _run(schedule: Schedule, optimizer: Optimizer, length: Length) -> None:
    n_all = length.n_steps if schedule.unit == "step" else length.epochs
    reach = getattr(schedule.scheduler, "total_steps", None)
    if isinstance(reach, int) and reach < n_all:
        raise ValueError(f"is made for {reach} steps, and the training has {n_all}; leave its length to be filled in")
    for _ in range(min(n_all, MOST_TRIED)):
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        if not all(math.isfinite(rate) and rate >= 0 for rate in rates):
            raise ValueError(f"makes a learning rate of {rates[0]:g}")
        optimizer.zero_grad()
        if schedule.unit == "step":
            schedule.after_step()
        else:
            schedule.after_epoch(None if schedule.watches is None else 1.0)


def rate_of(optimizer: Optimizer, /) -> float:
    """Return the learning rate of the first group of parameters."""
    rate = optimizer.param_groups[0]["lr"]
    return rate.item() if isinstance(rate, torch.Tensor) else float(rate)
