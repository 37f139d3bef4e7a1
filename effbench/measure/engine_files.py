"""Engines that run files: a network is written once, for inputs of one size, and what is read from the file is run."""

from __future__ import annotations

import contextlib
import io
import logging
import lzma
import os
import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from effbench.measure.engine import Prepared

_PRESET = 6


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A file that an engine runs, for inputs of one size."""

    path: Path
    int8_weights: int = 0
    """How many of the weights it holds for kernels of 8-bit integers."""
    int8_layers: Sequence[str] = ()
    """The names of the layers that these are of."""
    notes: Sequence[str] = ()
    """What of the network it does not hold as it was asked for, a line each."""


class FileEngine(ABC):
    """What an engine does that runs a file: it is written, measured, and read again before it runs."""

    name: ClassVar[str]
    SUFFIX: ClassVar[str]
    """Of its files."""

    @abstractmethod
    def export(self, model: nn.Module, example_input: Tensor, folder: Path, /) -> Exported:
        """Write the file of a network, in evaluation mode, for inputs of the example's size; the network is left alone.

        ValueError, in a line, names what of it the engine has no operation for.
        """

    @abstractmethod
    def load(self, path: Path, example_input: Tensor, /, *, threads: int) -> Prepared:
        """Return what runs a file. The file may be gone afterwards."""

    def prepare(self, model: nn.Module, example_input: Tensor, /, *, threads: int) -> Callable[[], object]:
        """Write the network's file, and return what runs it."""
        with tempfile.TemporaryDirectory(prefix="effbench-export-") as folder:
            exported = self.export(model, example_input, Path(folder))
            prepared = self.load(exported.path, example_input, threads=threads)
            return replace(
                prepared,
                n_bytes=os.path.getsize(exported.path),
                download_bytes=compressed_bytes(exported.path),
                int8_weights=exported.int8_weights,
                int8_layers=exported.int8_layers,
                notes=(*exported.notes, *prepared.notes),
            )

    def synchronise(self) -> None:  # noqa: B027 (it is the answer for all of them, not a gap)
        """Nothing is ever behind: its calls return when they are done."""


def as_array(values: Tensor, /) -> NDArray[Any]:
    """Return a tensor as an array. ValueError for a type that numpy, and engines that are given arrays, don't have."""
    if values.dtype == torch.bfloat16:
        raise ValueError(
            "the engine takes no bfloat16; eager, compile and aot do, and precision=float16 is another way"
        )
    return np.ascontiguousarray(values.numpy())


@contextlib.contextmanager
def silently() -> Iterator[None]:
    """Keep exporters and compilers from telling of their passes."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            before = logging.root.manager.disable
            logging.disable(max(before, logging.WARNING))
            try:
                yield
            finally:
                logging.disable(before)


def compressed_bytes(path: Path, /) -> int:
    """Return the length of a file compressed by xz (level 6), as a store or a server sends it at best."""
    compressor = lzma.LZMACompressor(preset=_PRESET)
    n_bytes = 0
    with path.open("rb") as stream:
        while part := stream.read(2**20):
            n_bytes += len(compressor.compress(part))
    return n_bytes + len(compressor.flush())
