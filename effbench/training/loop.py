"""The training loop: AdamW with a warm-up and a cosine decay. Every stage that trains goes through it."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from effbench.checks.fields import check_fields
from effbench.compression.constraints.stack import advancing
from effbench.compression.structure.fusion import fused
from effbench.compression.structure.held_masks import masked_after_steps
from effbench.data import ImageData
from effbench.training.layout import MEMORY_FORMATS, Layout, set_layout
from effbench.training.memory import N_WATCHED, TensorMemory
from effbench.training.precision import TrainingPrecision

EpochProgress = Callable[[int, int], None]
"""Called as progress(steps_done, steps_in_all)."""

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""loss(outputs, images, targets) -> (), to be minimised: of what the network makes of a batch (in float32), of the
images as it sees them, and of the examples' targets, or their numbers in the training split, int64 (n,); all on the
training's device."""

WARM_UP_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How a network is trained.

    The options decide the weights, to the last bit, together with data, seed and threads.
    """

    epochs: Annotated[int, Field(ge=0)]
    """Passes over the training split; 0 trains nothing."""
    lr: Annotated[float, Field(gt=0)]
    """The highest learning rate, reached after a tenth of the steps; then a cosine down to zero."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Decoupled (Loshchilov & Hutter 2017, arXiv:1711.05101); on tensors of two or more dimensions only."""
    precision: TrainingPrecision = "float32"
    """Of the forward and backward pass (autocast); weights and optimiser stay float32."""
    layout: Layout = "channels_last"
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training split that is used: the same examples for every seed."""

    def __post_init__(self) -> None:
        """Refuse what can't be trained with."""
        check_fields(self)


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
) -> int:
    """Train `model` in place on the training split at `side`, then leave it on the CPU in the default layout.

    Returns the most bytes of tensors alive at once in its steps (`memory`); 0 where there are none.

    The order of examples, augmentation and dropout are drawn from `generator`. Constraints that follow the training (a
    mask that closes gradually) are told of every step. `by_number`: the loss gets the examples' numbers in the place of
    their targets. `progress` may evaluate the model, not copy it (`held_masks`). FloatingPointError when the loss is
    not finite.
    """
    dtype = _DTYPES[options.precision]
    memory_format = MEMORY_FORMATS[options.layout]
    set_layout(model.to(device), options.layout)
    model.train()
    n_examples = max(1, round(options.fraction * data.n_examples("train")))
    n_steps = options.epochs * math.ceil(n_examples / options.batch_size)
    optimizer = torch.optim.AdamW(_groups(model, options.weight_decay), lr=options.lr, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _warm_up_then_cosine(n_steps))
    step, advance, memory = 0, advancing(model), TensorMemory()
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), fused(model), masked_after_steps(model) as mask_again:
        # Layers with a random forward pass (dropout) draw from the global generator.
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        for epoch in range(options.epochs):
            batches = data.batches(
                "train",
                side=side,
                batch_size=options.batch_size,
                generator=generator,
                fraction=options.fraction,
                numbered=by_number,
            )
            losses = torch.zeros((), device=device)
            for images, targets in batches:
                if len(targets) == 1 and n_examples > 1:
                    continue  # batch norm has no variance of one example
                with memory if step < N_WATCHED else nullcontext():
                    advance(step, n_steps)
                    images = images.to(device=device, memory_format=memory_format)
                    with torch.autocast(device.type, dtype, enabled=options.precision != "float32"):
                        outputs = model(images)
                    value = loss(outputs.float(), images, targets.to(device))
                    optimizer.zero_grad()
                    value.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                    mask_again()
                    schedule.step()
                losses += value.detach()
                step += 1
                if progress is not None:
                    progress(step, n_steps)
            if not math.isfinite(losses.item()):
                raise FloatingPointError(
                    f"the loss is {losses.item()} in epoch {epoch + 1}: a lower lr may help (lr={options.lr})"
                )
    if n_steps:
        advance(n_steps, n_steps)
    set_layout(model.to("cpu"), "contiguous")
    model.eval()
    return memory.peak_bytes


_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


def _warm_up_then_cosine(n_steps: int) -> Callable[[int], float]:
    """Return the factor on the learning rate as a function of the step."""
    n_warm_up = max(1, round(WARM_UP_SHARE * n_steps))

    def factor(step: int) -> float:
        if step < n_warm_up:
            return (step + 1) / n_warm_up
        return 0.5 * (1 + math.cos(math.pi * (step - n_warm_up) / max(1, n_steps - n_warm_up)))

    return factor
