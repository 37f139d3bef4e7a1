"""Gradients of the loss over training examples: what criteria of importance are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from effbench.compression.modes import all_trainable, evaluating
from effbench.data import ImageData
from effbench.tasks import Task

N_SCORING_EXAMPLES = 1_000
BATCH_SIZE = 250


def sum_gradients(
    model: nn.Module,
    tensors_of: Callable[[], Sequence[Tensor]],
    data: ImageData,
    /,
    *,
    task: Task,
    side: int,
    device: torch.device,
    generator: torch.Generator,
) -> tuple[list[Tensor], int]:
    """Return the summed gradient of the loss for each tensor, and over how many examples.

    tensors_of: gives the tensors, asked in each forward pass: a tensor under a constraint is made anew there. Their
    gradients come on the CPU, in their shapes; of one that the network does not use (an auxiliary head's) it is zero.
    At least `N_SCORING_EXAMPLES` training examples are seen where there are as many, drawn by `generator`, as
    evaluation sees them: augmented ones would rank weights by what the network is not judged by. The network
    is in evaluation mode meanwhile, all its parameters trainable, and on the CPU afterwards.
    """
    totals = [torch.zeros(tensor.shape, dtype=tensor.dtype) for tensor in tensors_of()]
    n_seen = 0
    model.to(device)
    with evaluating(model), all_trainable(model):
        for images, targets in data.batches(
            "train", side=side, batch_size=BATCH_SIZE, generator=generator, augmented=False
        ):
            with parametrize.cached():  # so that the weight that was used is the one that is asked for
                loss = task.summed_loss(model(images.to(device)), targets.to(device))
                gradients = torch.autograd.grad(loss, list(tensors_of()), allow_unused=True, materialize_grads=True)
            totals = [total + gradient.cpu() for total, gradient in zip(totals, gradients, strict=True)]
            n_seen += len(targets)
            if n_seen >= N_SCORING_EXAMPLES:
                break
    model.to("cpu")
    return totals, n_seen
