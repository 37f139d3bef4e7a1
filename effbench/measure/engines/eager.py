"""PyTorch as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from effbench.compression.constraints.stack import bake
from effbench.measure.devices import check_device, wait_for
from effbench.measure.engine import Prepared


@dataclass(frozen=True, kw_only=True)
class EagerEngine:
    """Run a network's own forward pass in inference mode: no compilation, no fusion, its own memory layout.

    Constraints are baked into a copy first: nobody deploys a network that quantises its weights in every pass. Zeros
    and low bit widths are therefore plain floats here, and not faster than others.
    """

    name: ClassVar[str] = "eager"
    IS_PYTORCH: ClassVar[bool] = True
    device: str = "cpu"
    """cpu, cuda, cuda:N or mps."""

    def __post_init__(self) -> None:
        check_device(self.device)

    def prepare(self, model: nn.Module, example_input: Tensor, /, *, threads: int) -> Prepared:
        """Return a function that runs a baked copy of `model` on `example_input`.

        `threads` is torch's own setting, for the whole process: the caller holds it while it measures.
        """
        runnable = bake(model).eval().to(self.device)
        images = example_input.to(self.device)

        def run() -> object:
            with torch.inference_mode():
                return runnable(images)

        def outputs(others: Tensor) -> Tensor:
            with torch.inference_mode():
                found: Tensor = runnable(others.to(self.device))
            return found.cpu()

        return Prepared(run=run, outputs=outputs)

    def synchronise(self) -> None:
        """Wait for the device; the CPU is never behind."""
        wait_for(self.device)
