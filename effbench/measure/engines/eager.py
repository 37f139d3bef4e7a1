"""PyTorch as it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from effbench.compression.constraints.stack import bake


@dataclass(frozen=True, kw_only=True)
class EagerEngine:
    """Run a network's own forward pass in inference mode: no compilation, no fusion, its own memory layout.

    Constraints are baked into a copy first: nobody deploys a network that quantises its weights in every pass. Zeros
    and low bit widths are therefore plain floats here, and not faster than others.
    """

    name: ClassVar[str] = "eager"
    device: str = "cpu"
    """cpu, cuda, cuda:N or mps."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"cpu|cuda(:\d+)?|mps", self.device):
            raise ValueError(f"device={self.device}: must be cpu, cuda, cuda:N or mps")

    def prepare(self, model: nn.Module, example_input: Tensor, /, *, threads: int) -> Callable[[], object]:
        """Return a function that runs a baked copy of `model` on `example_input`.

        `threads` is torch's own setting, for the whole process: the caller holds it while it measures.
        """
        runnable = bake(model).eval().to(self.device)
        images = example_input.to(self.device)

        def run() -> object:
            with torch.inference_mode():
                return runnable(images)

        return run

    def synchronise(self) -> None:
        """Wait for the device; the CPU is never behind."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)
        elif self.device == "mps":
            torch.mps.synchronize()
