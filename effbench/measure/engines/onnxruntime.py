"""ONNX Runtime on the processor."""

from __future__ import annotations

from dataclasses import dataclass
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
from effbench.measure.onnx_graph import INPUT

_LEVELS = {"none": "ORT_DISABLE_ALL", "basic": "ORT_ENABLE_BASIC", "all": "ORT_ENABLE_ALL"}


@dataclass(frozen=True, kw_only=True)
class OnnxRuntimeEngine(OnnxEngine):
    """Run a network's ONNX file with ONNX Runtime's kernels for the processor.

    A layer on 8-bit grids is computed with integers where what follows it is on a grid as well.
    """

    name: ClassVar[str] = "onnxruntime"
    PACKAGES: ClassVar[tuple[str, ...]] = ("onnxruntime", "onnx", "onnxscript")
    EXTRA: ClassVar[str] = "onnx"
    optimization: Literal["none", "basic", "all"] = "all"
    """How far ONNX Runtime rewrites the graph."""

    def library(self) -> Library:
        """Return what runs its networks."""
        return Library(distribution="onnxruntime", load="import onnxruntime")

    @classmethod
    def run_once(cls, blob: bytes, values: NDArray[np.float32], /) -> NDArray[np.float32]:
        """Return what the bytes of an ONNX file give for an input: see `OnnxEngine`."""
        outputs: NDArray[np.float32] = _session(blob, threads=1, optimization="all").run(None, {INPUT: values})[0]
        return outputs

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
