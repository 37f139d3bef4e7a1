"""Weights from a file: what makes a teacher of a network that was trained elsewhere."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from effbench.compression.duplicate import duplicate
from effbench.models.weights import fit_weights, read_state_dict
from effbench.plan.context import Context
from effbench.plan.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Load(Stage):
    """Give the network the tensors of a state_dict that torch.save wrote, all of them; no code in the file is run."""

    VERSION: ClassVar[int] = 1

    path: str
    sha256: str
    """Of the file: one that was written anew is another."""

    @classmethod
    def of(cls, path: str, /) -> Load:
        """Return the stage for a file as it is now. ValueError where it is no file of weights."""
        read_state_dict(path)
        return cls(path=path, sha256=_sha256(path))

    def identity(self) -> dict[str, Any]:
        """Return what decides the result: what is in the file, wherever it lies."""
        identity = super().identity()
        return {**identity, "fields": {"sha256": self.sha256}}

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` with the file's tensors. ValueError where they don't fit, or the file changed."""
        loaded = duplicate(model)
        if _sha256(self.path) != self.sha256:
            raise ValueError(f"{self.path} was changed after the sweep was planned; begin the sweep again")
        self.load_into(loaded)
        return loaded

    def load_into(self, model: nn.Module, /) -> None:
        """Load the file's tensors. ValueError, in one line, where they are not exactly those of the network."""
        try:
            fitting = fit_weights(model, read_state_dict(self.path), origin=self.path)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"{self.path} does not fit {type(model).__name__}: {reason}") from None
        if fitting.refitted:
            raise ValueError(
                f"{self.path} does not fit {type(model).__name__}: size mismatch, it is for {fitting.n_classes} classes"
            )


def _sha256(path: str) -> str:
    return hashlib.sha256(Path(path).expanduser().read_bytes()).hexdigest()
