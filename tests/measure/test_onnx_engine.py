"""What engines that read ONNX have in common: the type of weights is the one that is exact, asked once for each."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from effbench.measure.onnx_engine import OnnxEngine, exact_type

for package in ("onnx", "onnxscript"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'effbench[onnx]'")

LARGEST = 255 * 16 * 9 * 127.0


def kernels(answer):
    """Return an engine whose kernels give that for a convolution of the largest codes, and what it was asked."""
    asked = []

    class Kernels(OnnxEngine):
        name: ClassVar[str] = "kernels"
        PACKAGES: ClassVar[tuple[str, ...]] = ("onnx",)
        EXTRA: ClassVar[str] = "onnx"

        @classmethod
        def run_once(cls, blob, values):
            asked.append(values.shape)
            return np.full((1, 8, 6, 6), answer, np.float32)

        def load(self, path, example_input, *, threads):
            raise AssertionError

    return Kernels, asked


@pytest.mark.parametrize(("answer", "expected"), [(LARGEST, "int8"), (LARGEST / 2, "uint8")])
def test_the_type_of_weights_is_the_one_that_is_exact_here(answer, expected):
    kind, asked = kernels(answer)
    assert [exact_type(kind), exact_type(kind)] == [expected] * 2
    assert len(asked) == 1


def test_a_type_that_is_named_is_not_asked_about(tmp_path):
    kind, asked = kernels(LARGEST)
    exported = kind(weights="uint8").export(nn.Linear(3, 2), torch.ones(1, 3), tmp_path)
    assert exported.path.stat().st_size > 0 and not asked


def test_a_type_that_arrays_lack_is_refused_in_a_line(tmp_path):
    kind, _ = kernels(LARGEST)
    with pytest.raises(ValueError, match="takes no bfloat16"):
        kind().export(nn.Linear(3, 2).bfloat16(), torch.ones(1, 3, dtype=torch.bfloat16), tmp_path)
