"""ExecuTorch with the kernels of XNNPACK, as on phones; here on the processor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from effbench.checks.errors import first_line
from effbench.checks.extras import import_extra
from effbench.checks.fields import check_fields
from effbench.checks.text import few_names
from effbench.measure.engine import Prepared
from effbench.measure.engine_files import Exported, FileEngine, silently
from effbench.measure.footprint import Library
from effbench.measure.xnnpack_graph import to_program


@dataclass(frozen=True, kw_only=True)
class ExecuTorchEngine(FileEngine):
    """Write a network as an ExecuTorch program (.pte), what XNNPACK can compute handed to it, and run that.

    Layers whose weights and inputs are on grids of at most 8 bits have their own codes (`measure.xnnpack_forms`); those
    that are computed otherwise than the network says are named. What XNNPACK does not take runs with ExecuTorch's
    portable kernels, which are slow; those operations are named, too.
    """

    name: ClassVar[str] = "executorch"
    PACKAGES: ClassVar[tuple[str, ...]] = ("executorch",)
    SUFFIX: ClassVar[str] = ".pte"

    def __post_init__(self) -> None:
        """Refuse an environment without the package."""
        check_fields(self)
        import_extra("executorch", needed_by="engine=executorch", extra="executorch")

    def library(self) -> Library:
        """Return what runs its networks."""
        return Library(distribution="executorch", load="from executorch.runtime import Runtime; Runtime.get()")

    def export(self, model: nn.Module, example_input: Tensor, folder: Path, /) -> Exported:
        """Write the program of a network: see `FileEngine.export`."""
        with silently():  # importing it tells of its own deprecations
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower

        path = folder / f"network{self.SUFFIX}"
        try:
            with silently(), torch.no_grad():
                program = to_program(model, example_input)
                edge = to_edge_transform_and_lower(program.exported, partitioner=[XnnpackPartitioner()])
                left = _not_delegated(edge.exported_program())
                path.write_bytes(edge.to_executorch().buffer)
        except Exception as error:  # whatever the exporter raises: it is the network that it can't follow
            raise ValueError(f"it can't be written for ExecuTorch: {first_line(error)}") from None
        notes = (f"not computed by XNNPACK: {few_names(left)}",) if left else ()
        return Exported(
            path=path,
            int8_weights=program.int8_weights,
            int8_layers=tuple(program.int8),
            notes=(*program.notes, *notes),
        )

    def load(self, path: Path, example_input: Tensor, /, *, threads: int) -> Prepared:
        """Return what runs a program. ExecuTorch has one pool of threads for all: it has so many from now on."""
        with silently():
            from executorch.extension.pybindings import portable_lib
            from executorch.runtime import Runtime

            portable_lib._unsafe_reset_threadpool(threads)
            blob = path.read_bytes()
            program = Runtime.get().load_program(blob)
            try:
                forward = program.load_method("forward")
            except RuntimeError as error:
                raise ValueError(f"ExecuTorch lacks kernels for some of its operations: {first_line(error)}") from None
        held = (blob, program)  # the method points into them
        example = example_input.contiguous()

        def run() -> object:
            return forward.execute([example])

        def outputs(images: Tensor) -> Tensor:
            assert held
            found: Tensor = forward.execute([images.contiguous()])[0]
            return found.clone()

        return Prepared(run=run, outputs=outputs)


def _not_delegated(program: torch.export.ExportedProgram) -> list[str]:
    """Return the operations that are left to the portable kernels, each once."""
    names = (
        getattr(node.target, "__name__", str(node.target))
        for node in program.graph.nodes
        if node.op == "call_function" and "executorch_call_delegate" not in str(node.target)
    )
    return sorted({name for name in names if "getitem" not in name})
