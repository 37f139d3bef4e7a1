"""What a network makes of every training example: the labels that it gives as a teacher."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from effbench.data import ImageData

BATCH_SIZE = 250


def label_examples(network: nn.Module, data: ImageData, /, *, side: int, device: torch.device) -> Tensor:
    """Return the outputs for the training split by the examples' numbers: float32 (n, n_classes, …), on the CPU.

    The network is left on the CPU, in evaluation mode. ValueError where it has another number of classes than the data.
    """
    outputs, order = [], []
    network.to(device).eval()
    with torch.no_grad():
        for images, numbers in data.batches("train", side=side, batch_size=BATCH_SIZE, numbered=True):
            batch = network(images.to(device=device, memory_format=torch.channels_last)).float().cpu()
            if batch.shape[1:2] != (data.n_classes,):
                raise ValueError(
                    f"the teacher's outputs are {tuple(batch.shape[1:])}, the data have {data.n_classes} classes; "
                    "give a teacher that was trained on the same classes"
                )
            outputs.append(batch)
            order.append(numbers)
    network.to("cpu")
    return torch.cat(outputs)[torch.cat(order).argsort()]
