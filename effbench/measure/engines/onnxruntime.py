"""ONNX Runtime on the processor."""

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
from effbench.measure.onnx_graph import INPUT, WeightType, cuts_products_off, to_onnx

_LEVELS = {"none": "ORT_DISABLE_ALL", "basic": "ORT_ENABLE_BASIC", "all": "ORT_ENABLE_ALL"}


@dataclass(frozen=True, kw_only=True)
class OnnxRuntimeEngine(FileEngine):
    """Write a network as ONNX, and run it with ONNX Runtime's kernels for the processor.

    Layers whose weights and inputs are on grids of at most 8 bits are in the QDQ form (`measure.onnx_graph`): where
    what follows a layer is on a grid as well, ONNX Runtime computes it with integers.
    """

    name: ClassVar[str] = "onnxruntime"
    PACKAGES: ClassVar[tuple[str, ...]] = ("onnxruntime", "onnx", "onnxscript")
    SUFFIX: ClassVar[str] = ".onnx"
    optimization: Literal["none", "basic", "all"] = "all"
    """How far ONNX Runtime rewrites the graph."""
    weights: Literal["auto", "int8", "uint8"] = "auto"
    """Of 8-bit layers: signed codes, or unsigned ones, which are exact on every processor; auto: signed where they are
    exact on this one (`onnx_graph.cuts_products_off`)."""

    def __post_init__(self) -> None:
        """Refuse what is no option, and an environment without the packages."""
        check_fields(self)
        for package in self.PACKAGES:
            import_extra(package, needed_by="engine=onnxruntime", extra="onnx")

    def export(self, model: nn.Module, example_input: Tensor, folder: Path, /) -> Exported:
        """Write the ONNX file of a network: see `FileEngine.export`."""
        as_array(example_input)
        graph = to_onnx(model, example_input, weights=_exact_type() if self.weights == "auto" else self.weights)
        path = folder / f"network{self.SUFFIX}"
        path.write_bytes(graph.proto.SerializeToString())
        return Exported(path=path, int8_weights=graph.int8_weights, notes=graph.notes)

    def load(self, path: Path, example_input: Tensor, /, *, threads: int) -> Prepared:
        """Return what runs an ONNX file, with so many threads of its own."""
        session = _session(path.read_bytes(), threads=threads, optimization=self.optimization)
        example: Any = {INPUT: as_array(example_input)}

        def run() -> object:
            return session.run(None, example)

        def outputs(images: Tensor) -> Tensor:
            (first, *_others) = session.run(None, {INPUT: as_array(images)})
            return torch.from_numpy(first)

        return Prepared(run=run, outputs=outputs)


def _session(blob: bytes, *, threads: int, optimization: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, _LEVELS[optimization])
    return onnxruntime.InferenceSession(blob, options, providers=["CPUExecutionProvider"])


@cache
def _exact_type() -> WeightType:
    """Return the type of weights whose products this processor does not cut off."""

    def run(blob: bytes, images: NDArray[np.float32]) -> NDArray[np.float32]:
        outputs: NDArray[np.float32] = _session(blob, threads=1, optimization="all").run(None, {INPUT: images})[0]
        return outputs

    return "uint8" if cuts_products_off(run) else "int8"
