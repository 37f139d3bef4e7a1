"""What engines have in common that read ONNX files."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from effbench.checks.extras import import_extra
from effbench.checks.fields import check_fields
from effbench.measure.engine_files import Exported, FileEngine, as_array
from effbench.measure.onnx_graph import WeightType, cuts_products_off, to_onnx


@dataclass(frozen=True, kw_only=True)
class OnnxEngine(FileEngine):
    """Writes a network as an ONNX graph. Layers on grids of at most 8 bits are in the QDQ form (`onnx_graph`)."""

    PACKAGES: ClassVar[tuple[str, ...]]
    EXTRA: ClassVar[str]
    """Of effbench's own, that brings the packages."""
    SUFFIX: ClassVar[str] = ".onnx"
    weights: Literal["auto", "int8", "uint8"] = "auto"
    """Of 8-bit layers: signed codes, or unsigned ones, which are exact on every processor; auto: signed where they are
    exact on this one (`onnx_graph.cuts_products_off`)."""

    def __post_init__(self) -> None:
        """Refuse what is no option, and an environment without the packages."""
        check_fields(self)
        for package in self.PACKAGES:
            import_extra(package, needed_by=f"engine={self.name}", extra=self.EXTRA)

    @classmethod
    @abstractmethod
    def run_once(cls, blob: bytes, values: NDArray[np.float32], /) -> NDArray[np.float32]:
        """Return what the bytes of an ONNX file give for an input, with the engine's kernels and one thread."""

    def export(self, model: nn.Module, example_input: Tensor, folder: Path, /) -> Exported:
        """Write the ONNX file of a network: see `FileEngine.export`."""
        as_array(example_input)  # refuses a type that these engines are not given
        graph = to_onnx(
            model, example_input, weights=exact_type(type(self)) if self.weights == "auto" else self.weights
        )
        path = folder / f"network{self.SUFFIX}"
        path.write_bytes(graph.proto.SerializeToString())
        return Exported(path=path, int8_weights=graph.int8_weights, int8_layers=tuple(graph.int8), notes=graph.notes)


@cache
def exact_type(kind: type[OnnxEngine], /) -> WeightType:
    """Return the type of weights whose products an engine does not cut off on this processor."""
    return "uint8" if cuts_products_off(kind.run_once) else "int8"
