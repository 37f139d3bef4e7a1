"""When a training ends before its last epoch, and which of its networks is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from effbench.training.options import TrainingOptions


class Stopping:
    """Remembers the best epoch on validation."""

    def __init__(self, options: TrainingOptions) -> None:
        self.patience = options.stop_after
        self.keeps_best = options.keep == "best"
        self.best_epoch = 0
        """Counted from 1; 0: none yet."""
        self.best_score = -float("inf")
        self.n_worse = 0
        """Epochs in a row that were not better."""
        self.tensors: dict[str, Tensor] = {}

    def note(self, epoch: int, score: float, tensors: Mapping[str, Tensor]) -> None:
        """Note what a network is worth on validation, higher is better; NaN is no better. tensors: all that it has."""
        if score > self.best_score:
            self.best_epoch, self.best_score, self.n_worse = epoch, score, 0
            if self.keeps_best:
                self.tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        else:
            self.n_worse += 1

    def restart(self) -> None:
        """Forget the epochs so far: their networks were held to less than the coming ones are."""
        self.best_epoch, self.best_score, self.n_worse, self.tensors = 0, -float("inf"), 0, {}

    @property
    def is_over(self) -> bool:
        """Whether the training has been no better for as long as it may."""
        return self.patience is not None and self.n_worse >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered."""
        return {
            "best_epoch": self.best_epoch,
            "best_score": self.best_score,
            "n_worse": self.n_worse,
            "tensors": self.tensors,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.best_epoch, self.best_score, self.n_worse = state["best_epoch"], state["best_score"], state["n_worse"]
        self.tensors = dict(state["tensors"])
