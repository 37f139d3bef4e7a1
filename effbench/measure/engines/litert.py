"""LiteRT (TensorFlow Lite) with the kernels of XNNPACK, as on phones; here on the processor."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from effbench.checks.errors import first_line
from effbench.checks.fields import check_fields
from effbench.compression.constraints.stack import bake
from effbench.measure.engine import Prepared
from effbench.measure.engine_files import Exported, FileEngine, silently
from effbench.measure.footprint import Library
from effbench.measure.litert_process import missing_packages, package_versions, process_of

PYTHON_VARIABLE = "EFFBENCH_LITERT_PYTHON"
_INSTALL = "pip install -r requirements-litert.lock"


@dataclass(frozen=True, kw_only=True)
class LitertEngine(FileEngine):
    """Write a network as a LiteRT model (.tflite) with litert-torch, and run it in a process of LiteRT's interpreter.

    LiteRT's pins fit nothing else: it is in an environment of its own, and one process of it converts, holds, runs and
    times all networks. What counts as latency is measured in there, around the inference alone; networks of this and
    of other engines are timed in turn as ever.

    Constraints are baked into a copy first: zeros and low bit widths are plain floats here. LiteRT's own quantiser,
    which would choose scales anew from images, is not used.
    """

    name: ClassVar[str] = "litert"
    SUFFIX: ClassVar[str] = ".tflite"
    python: str | None = None
    """The interpreter of LiteRT's environment; null: the one that EFFBENCH_LITERT_PYTHON names."""

    def __post_init__(self) -> None:
        """Refuse an environment without LiteRT."""
        check_fields(self)
        if self._interpreter is None:
            raise ValueError(
                "python=null: LiteRT, which needs an environment of its own, is not installed: "
                f"python3 -m venv litert && litert/bin/{_INSTALL}, then engine.litert.python=litert/bin/python"
            )
        try:
            missing = missing_packages(self._interpreter)
        except ValueError as error:
            raise ValueError(f"python={self._interpreter}: {error}") from None
        if missing:
            raise ValueError(
                f"python={self._interpreter}: it lacks {', '.join(missing)}: {self._interpreter} -m {_INSTALL}"
            )

    @property
    def _interpreter(self) -> str | None:
        return self.python if self.python is not None else os.environ.get(PYTHON_VARIABLE) or None

    @staticmethod
    def versions_of(options: Mapping[str, Any], /) -> dict[str, str]:
        """Return the versions of the packages of its own interpreter."""
        python = options.get("python") or os.environ.get(PYTHON_VARIABLE)
        return package_versions(python) if python else {}

    def library(self) -> Library:
        """Return what runs its networks."""
        return Library(
            distribution="ai-edge-litert", load="import ai_edge_litert.interpreter", python=self._interpreter
        )

    def export(self, model: nn.Module, example_input: Tensor, folder: Path, /) -> Exported:
        """Write the file of a network: see `FileEngine.export`."""
        assert self._interpreter is not None
        path, exported = folder / f"network{self.SUFFIX}", folder / "network.pt2"
        plain = bake(model).eval().requires_grad_(False)
        try:
            with silently(), torch.no_grad():
                torch.export.save(torch.export.export(plain, (example_input,)), exported)
            process_of(self._interpreter).convert(exported, path)
        except Exception as error:  # whatever torch.export and the converter raise: it is the network they can't follow
            raise ValueError(f"it can't be written for LiteRT: {first_line(error)}") from None
        exported.unlink()
        return Exported(path=path)

    def load(self, path: Path, example_input: Tensor, /, *, threads: int) -> Prepared:
        """Return what has the process run a file, with so many threads of its own."""
        assert self._interpreter is not None
        example = example_input.clone()
        held = process_of(self._interpreter).load(path, example, threads=threads)
        return Prepared(run=lambda: held.outputs(example), outputs=held.outputs, seconds=held.seconds)
