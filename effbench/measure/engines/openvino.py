"""OpenVINO on the processor."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from effbench.measure.engine import Prepared
from effbench.measure.engine_files import as_array
from effbench.measure.footprint import Library
from effbench.measure.onnx_engine import OnnxEngine

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


@dataclass(frozen=True, kw_only=True)
class OpenVinoEngine(OnnxEngine):
    """Run a network's ONNX file, which OpenVINO reads as it is, with OpenVINO's kernels for the processor.

    Layers on 8-bit grids are computed with integers.
    """

    name: ClassVar[str] = "openvino"
    PACKAGES: ClassVar[tuple[str, ...]] = ("openvino", "onnx", "onnxscript")
    EXTRA: ClassVar[str] = "openvino"
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of what is not computed with integers. What OpenVINO then uses is read back, and told where it is another."""

    def __post_init__(self) -> None:
        """Refuse what is no option, and an environment without the packages."""
        with _untold():
            super().__post_init__()

    def library(self) -> Library:
        """Return what runs its networks."""
        load = f"import sys\nsys.modules[{_TELEMETRY!r}] = None\nimport openvino\nopenvino.Core()"
        return Library(distribution="openvino", load=load)

    @classmethod
    def run_once(cls, blob: bytes, values: NDArray[np.float32], /) -> NDArray[np.float32]:
        """Return what the bytes of an ONNX file give for an input: see `OnnxEngine`."""
        return np.array(_compiled(blob, threads=1, precision="f32")(values)[0])

    def load(self, path: Path, example_input: Tensor, /, *, threads: int) -> Prepared:
        """Return what runs an ONNX file, with so many threads of its own."""
        wanted = _PRECISIONS[self.precision]
        compiled = _compiled(path.read_bytes(), threads=threads, precision=wanted)
        used = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        notes = () if used == wanted else (f"computed in {used}, not in {wanted}, on this processor",)
        request = compiled.create_infer_request()
        example = as_array(example_input)

        def run() -> object:
            return request.infer([example], share_inputs=True, share_outputs=True)

        def outputs(images: Tensor) -> Tensor:
            found = request.infer([as_array(images)])
            return torch.from_numpy(np.array(found[0])).float()

        return Prepared(run=run, outputs=outputs, notes=notes)


_TELEMETRY = "openvino_telemetry"


@contextmanager
def _untold() -> Iterator[None]:
    """Import OpenVINO here, and nobody is told: else it forks this process, and writes into the user's home folder."""
    if _TELEMETRY in sys.modules:  # the user's own code has imported it
        yield
        return
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment] # Python's own way to say that a module is not there
    try:
        yield
    finally:
        del sys.modules[_TELEMETRY]


@cache
def _core() -> Any:
    """Return OpenVINO's core: one a process, which stays.

    Each brings a stack for handlers of signals, and puts back at its end the one that it found. Of two cores the second
    puts back that of the first, which is gone by then: the next signal would end the process.
    """
    with _untold():
        import openvino

        return openvino.Core()


def _compiled(blob: bytes, *, threads: int, precision: str) -> Any:
    core = _core()
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
    }
    return core.compile_model(core.read_model(blob), "CPU", options)
