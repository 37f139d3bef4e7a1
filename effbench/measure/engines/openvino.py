"""OpenVINO on the processor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from effbench.checks.extras import import_extra
from effbench.checks.fields import check_fields
from effbench.measure.engine import Prepared
from effbench.measure.engine_files import Exported, FileEngine, as_array
from effbench.measure.onnx_graph import WeightType, cuts_products_off, to_onnx

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


@dataclass(frozen=True, kw_only=True)
class OpenVinoEngine(FileEngine):
    """Write a network as ONNX, and run it with OpenVINO's kernels for the processor.

    Layers whose weights and inputs are on grids of at most 8 bits are in the QDQ form (`measure.onnx_graph`), which
    OpenVINO computes with integers. The file is the ONNX graph: OpenVINO reads it as it is.
    """

    name: ClassVar[str] = "openvino"
    PACKAGES: ClassVar[tuple[str, ...]] = ("openvino", "onnx", "onnxscript")
    SUFFIX: ClassVar[str] = ".onnx"
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of what is not computed with integers. What OpenVINO then uses is read back, and told where it is another."""
    weights: Literal["auto", "int8", "uint8"] = "auto"
    """Of 8-bit layers: signed codes, or unsigned ones, which are exact on every processor; auto: signed where they are
    exact on this one (`onnx_graph.cuts_products_off`)."""

    def __post_init__(self) -> None:
        """Refuse what is no option, and an environment without the packages."""
        check_fields(self)
        for package in self.PACKAGES:
            import_extra(package, needed_by="engine=openvino", extra="openvino")

    def export(self, model: nn.Module, example_input: Tensor, folder: Path, /) -> Exported:
        """Write the ONNX file of a network: see `FileEngine.export`."""
        as_array(example_input)
        graph = to_onnx(model, example_input, weights=_exact_type() if self.weights == "auto" else self.weights)
        path = folder / f"network{self.SUFFIX}"
        path.write_bytes(graph.proto.SerializeToString())
        return Exported(path=path, int8_weights=graph.int8_weights, notes=graph.notes)

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


def _compiled(blob: bytes, *, threads: int, precision: str) -> Any:
    import openvino

    core = openvino.Core()
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
    }
    return core.compile_model(core.read_model(blob), "CPU", options)


@cache
def _exact_type() -> WeightType:
    """Return the type of weights whose products this processor does not cut off."""

    def run(blob: bytes, images: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.array(_compiled(blob, threads=1, precision="f32")(images)[0])

    return "uint8" if cuts_products_off(run) else "int8"
