"""What a stage gets to learn from: another network, made when it is first needed, and the labels that it gives."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from effbench.data import ImageData
from effbench.training.labelling import label_examples


@dataclass(frozen=True, kw_only=True)
class TeacherRequest:
    """Which teacher a stage asks for; None: as the reference has it."""

    name: str
    """`reference`, `wide`, another network (with weights of its own or without), or a file with a state_dict."""
    alpha: float | None = None
    fraction: float | None = None
    epochs: int | None = None
    seed: int | None = None
    augment: str | None = None
    labels: str | None = None
    """A file with the labels themselves, in the place of a teacher."""


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
        """Return what the teacher makes of the whole training split, un-augmented: float32 (n_examples, n_classes, …).

        Computed once for all students of this teacher on these data, and kept; where it is there already the network
        is not asked for. Rows are in the order of the examples' numbers. ValueError where the teacher knows other
        classes.
        """
        name = label_name(self.key, data, side=self.side)
        return self.keep(name, lambda: label_examples(self.network(), data, side=self.side, device=device))


def label_name(key: str, data: ImageData, /, *, side: int) -> str:
    """Return the name under which the labels are kept that the teacher of a key gives the data at a side."""
    return f"{key}-{hashlib.sha256(f'logits/{key}/{data.fingerprint}/{side}'.encode()).hexdigest()[:20]}"
