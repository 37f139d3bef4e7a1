"""What a stage gets to learn from: another network, made when it is first needed, and the labels that it gives."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from effbench.data import ImageData

BATCH_SIZE = 250


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A trained network by its key. The key of what it teaches holds this one."""

    key: str
    side: int
    """The side in pixels at which it sees images, whatever its students see."""
    network: Callable[[], nn.Module]
    """Gives the network, in evaluation mode: from the store, or trained now."""
    keep: Callable[[str, Callable[[], Tensor]], Tensor]
    """keep(name, make) gives the tensor that is kept under that name, or makes and keeps it."""

    def logits(self, data: ImageData, /, *, device: torch.device) -> Tensor:
        """Return what the teacher makes of the whole training split, un-augmented: float32 (n_examples, n_classes).

        Computed once for all students of this teacher on these data, and kept; where it is there already the network
        is not asked for. Rows are in the order of the examples' numbers. ValueError where the teacher knows other
        classes.
        """
        name = hashlib.sha256(f"logits/{self.key}/{data.fingerprint}/{self.side}".encode()).hexdigest()[:20]
        return self.keep(name, lambda: label_examples(self.network(), data, side=self.side, device=device))


def label_examples(network: nn.Module, data: ImageData, /, *, side: int, device: torch.device) -> Tensor:
    """Return the logits of the training split by the examples' numbers: float32 (n_examples, n_classes), on the CPU.

    The network is left on the CPU, in evaluation mode. ValueError where it has another number of classes than the data.
    """
    logits, order = [], []
    network.to(device).eval()
    with torch.no_grad():
        for images, numbers in data.batches("train", side=side, batch_size=BATCH_SIZE, numbered=True):
            batch = network(images.to(device=device, memory_format=torch.channels_last)).float().cpu()
            if batch.shape[1:] != (data.n_classes,):
                raise ValueError(
                    f"the teacher's outputs are {tuple(batch.shape[1:])}, the data have {data.n_classes} classes; "
                    "give a teacher that was trained on the same classes"
                )
            logits.append(batch)
            order.append(numbers)
    network.to("cpu")
    return torch.cat(logits)[torch.cat(order).argsort()]
