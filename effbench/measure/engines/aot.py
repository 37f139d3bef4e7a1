"""AOTInductor: a network compiled ahead of time, on the processor."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from effbench.checks.errors import first_line
from effbench.checks.fields import check_fields
from effbench.compression.constraints.stack import bake
from effbench.measure.engine import Prepared
from effbench.measure.engine_files import Exported, FileEngine, silently
from effbench.measure.footprint import Library


@dataclass(frozen=True, kw_only=True)
class AotEngine(FileEngine):
    """Compile what torch.export makes of a network into a package (.pt2), and run that.

    Constraints are baked into a copy first: zeros and low bit widths are plain floats here. The package holds no
    sources; its library names folders of the machine that compiled it.
    """

    name: ClassVar[str] = "aot"
    SUFFIX: ClassVar[str] = ".pt2"
    freezing: bool = True
    """Whether weights are constants of the compiled code: norms are folded, layouts chosen once."""

    def __post_init__(self) -> None:
        """Refuse what is no option."""
        check_fields(self)

    def library(self) -> Library:
        """Return what runs its networks."""
        return Library(distribution="torch", load="import torch")

    def export(self, model: nn.Module, example_input: Tensor, folder: Path, /) -> Exported:
        """Write the package of a network: see `FileEngine.export`."""
        from torch._inductor import aoti_compile_and_package

        path = folder / f"network{self.SUFFIX}"
        plain = bake(model).eval().requires_grad_(False)
        try:
            with silently(), torch.no_grad():
                program = torch.export.export(plain, (example_input,))
                aoti_compile_and_package(program, package_path=str(path), inductor_configs={"freezing": self.freezing})
        except Exception as error:  # whatever the compiler raises: it is the network that it can't follow
            raise ValueError(f"AOTInductor can't compile it: {first_line(error)}") from None
        _leave_out_sources(path)
        return Exported(path=path)

    def load(self, path: Path, example_input: Tensor, /, *, threads: int) -> Prepared:
        """Return what runs a package. Threads are torch's own: the caller holds their number while it measures."""
        with silently():
            compiled = torch._inductor.aoti_load_package(str(path))

        def run() -> object:
            with torch.inference_mode():
                return compiled(example_input)

        def outputs(images: Tensor) -> Tensor:
            with torch.inference_mode():
                found: Tensor = compiled(images)
            return found

        return Prepared(run=run, outputs=outputs)


def _leave_out_sources(path: Path) -> None:
    """Take the C++ sources out of a package, in place: nothing reads them, and they hold the compiler's command."""
    part = path.with_name(f"{path.name}.part")
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(part, "w") as slim:
        for entry in whole.namelist():
            if not entry.endswith(".cpp"):
                slim.writestr(entry, whole.read(entry))
    os.replace(part, path)
