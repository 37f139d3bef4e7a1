"""The loss of a training: the task's own, with smoothed labels, or a module of torch's form."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effbench.checks.errors import kind_and_line
from effbench.data import ImageData
from effbench.tasks import Task
from effbench.training.options import TrainingOptions, check_kind

Criterion = Callable[[Tensor, Tensor], Tensor]
"""criterion(outputs, targets) -> (): outputs (n, n_classes, …) in float32, targets classes, int64 (n, …), or what
mixing makes of them, probabilities (n, n_classes)."""


def make_criterion(options: TrainingOptions, task: Task, data: ImageData, device: torch.device, /) -> Criterion:
    """Return the loss that the options ask for, on a device. ValueError where it is none for this task and data."""
    is_mixed = options.mixup is not None or options.cutmix is not None
    if is_mixed and not task.BLENDS:
        name = "mixup" if options.mixup is not None else "cutmix"
        raise ValueError(f"{name}={getattr(options, name):g}: must be null with task={task.name}, as it blends labels")
    if options.loss is None:
        if not (is_mixed or options.label_smoothing):
            return task.loss
        return partial(task.smoothed_loss, smoothing=options.label_smoothing)
    check_kind("loss", options.loss, nn.Module, "torch.nn.Module")
    try:
        module: object = options.loss.build()
        if not isinstance(module, nn.Module):
            raise ValueError(f"gives a {type(module).__name__}, not a torch.nn.Module")
        if any(True for _ in module.parameters()):
            raise ValueError("has parameters of its own, which nothing would train")
        return _OwnLoss(module.to(device), task, _takes_numbers(module.to("cpu"), data, is_mixed), device)
    except ValueError as error:
        raise ValueError(f"loss: {options.loss.target}: {' '.join(str(error).split())}") from None
    except Exception as error:  # whatever a class makes of its options
        raise ValueError(f"loss: {options.loss.target}: {kind_and_line(error)}") from None


class _OwnLoss:
    """A user's loss: of class numbers where it takes these, else of a 1 for the class and 0 for the others."""

    def __init__(self, module: nn.Module, task: Task, takes_numbers: bool, device: torch.device) -> None:
        self.module, self.task, self.takes_numbers = module.to(device), task, takes_numbers

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        outputs = self.task.comparable(outputs, targets)
        if not (self.takes_numbers or targets.is_floating_point()):
            targets = _one_hot(targets, outputs.shape[1])
        value = self.module(outputs, targets)
        assert isinstance(value, Tensor)
        return value.reshape(())


def _one_hot(targets: Tensor, n_classes: int) -> Tensor:
    """Return a 1 for the class and 0 for the others: int64 (n, …) to float32 (n, n_classes, …)."""
    return F.one_hot(targets, n_classes).movedim(-1, 1).float()


def _takes_numbers(module: nn.Module, data: ImageData, is_mixed: bool) -> bool:
    """Return whether a loss takes class numbers; else it takes probabilities. ValueError where it takes neither."""
    labels = data.labels["train"]
    n = 3 if data.n_classes != 3 else 4  # another number than that of classes: nothing fits by chance
    targets = labels[torch.arange(n) % len(labels)].long()
    outputs = torch.randn(n, data.n_classes, *targets.shape[1:], generator=torch.Generator().manual_seed(0))
    tried = [_one_hot(targets, data.n_classes)] if is_mixed else [targets, _one_hot(targets, data.n_classes)]
    problems = [_problem(module, outputs, candidate) for candidate in tried]
    if None not in problems:
        forms = "no probabilities, which mixing makes of labels" if is_mixed else "neither classes nor a 1 for each"
        raise ValueError(f"takes {forms}: {problems[0]}")
    return not is_mixed and problems[0] is None


def _problem(module: nn.Module, outputs: Tensor, targets: Tensor) -> str | None:
    """Return why a loss can't be made of outputs and targets; None where it can."""
    outputs = outputs.clone().requires_grad_()
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message="Using a (target|input) size")  # stretched to that of the other
            value: object = module(outputs, targets)
            if not isinstance(value, Tensor) or value.numel() != 1:
                what = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
                return f"must give one number for a batch, but gives {what}"
            value.sum().backward()  # type: ignore[no-untyped-call]
    except Exception as error:  # whatever a user's loss raises
        return kind_and_line(error)
    return None if outputs.grad is not None else "has no gradient"
