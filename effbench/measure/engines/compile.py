"""torch.compile: PyTorch's own compiler, on the processor or a GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from effbench.checks.errors import first_line
from effbench.checks.fields import check_fields
from effbench.compression.constraints.stack import bake
from effbench.measure.devices import check_device, wait_for
from effbench.measure.engine import Prepared
from effbench.measure.footprint import Library


@dataclass(frozen=True, kw_only=True)
class CompileEngine:
    """Run what torch.compile makes of a network's forward pass (Inductor), its weights frozen into it as constants.

    Constraints are baked into a copy first: zeros and low bit widths are plain floats here.
    """

    name: ClassVar[str] = "compile"
    device: str = "cpu"
    """cpu, cuda, cuda:N or mps."""
    freezing: bool = True
    """Whether weights are constants of the compiled code: norms are folded, layouts chosen once."""

    def __post_init__(self) -> None:
        """Refuse what is no option."""
        check_fields(self)
        check_device(self.device)

    def library(self) -> Library:
        """Return what runs its networks."""
        return Library(distribution="torch", load="import torch")

    def prepare(self, model: nn.Module, example_input: Tensor, /, *, threads: int) -> Prepared:
        """Return a function that runs a compiled copy of `model` on `example_input`.

        `threads` is torch's own setting, for the whole process: the caller holds it while it measures.
        """
        import torch._inductor.config as inductor

        images = example_input.to(self.device)
        plain = bake(model).eval().to(self.device).requires_grad_(False)
        compiled = torch.compile(_caller(plain), dynamic=False)
        try:
            with inductor.patch(freezing=self.freezing), torch.no_grad():
                compiled(images)
        except Exception as error:  # whatever the compiler raises: it is the network that it can't follow
            raise ValueError(f"torch.compile can't follow it: {first_line(error)}") from None

        # In another mode, or for another layout, torch would compile all of it anew, and not with these settings.
        def run() -> object:
            with torch.inference_mode(False), torch.no_grad():
                return compiled(images)

        def outputs(others: Tensor) -> Tensor:
            assert others.shape == images.shape, f"prepared for {tuple(images.shape)}, not for {tuple(others.shape)}"
            with torch.inference_mode(False), torch.no_grad():
                found: Tensor = compiled(torch.empty_like(images).copy_(others))
            return found.cpu()

        return Prepared(run=run, outputs=outputs)

    def synchronise(self) -> None:
        """Wait for the device."""
        wait_for(self.device)


def _caller(model: nn.Module) -> Callable[[Tensor], Any]:
    """Return a function that calls `model`, whose code is its own.

    What is compiled is kept by the code object: of networks of one class, which share theirs, only the first eight
    would be compiled, and each call would look through all of them.
    """

    def call(images: Tensor) -> Any:
        return model(images)

    return FunctionType(call.__code__.replace(), call.__globals__, "call", closure=call.__closure__)
