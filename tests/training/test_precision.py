"""The format in which training is quickest: bfloat16 where the processor has instructions for it."""

import pytest
import torch

from effbench.training import precision
from effbench.training.precision import BFLOAT16_INSTRUCTIONS, suited_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", BFLOAT16_INSTRUCTIONS)
def test_bfloat16_where_the_processor_multiplies_it(monkeypatch, name):
    monkeypatch.setattr(precision, "_capabilities", lambda: {name: True})
    assert suited_precision(CPU, is_grouped=False) == "bfloat16"
    assert suited_precision(CPU, is_grouped=True) == "float32"
    assert suited_precision(torch.device("cuda"), is_grouped=False) == "float32"


@pytest.mark.parametrize("capabilities", [{}, {"avx512_bf16": False}, {"avx2": True, "avx512f": True}])
def test_float32_elsewhere(monkeypatch, capabilities):
    monkeypatch.setattr(precision, "_capabilities", lambda: capabilities)
    assert suited_precision(CPU, is_grouped=False) == "float32"


def test_a_torch_that_says_nothing_of_the_processor_has_none(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert precision._capabilities() == {}
    assert suited_precision(CPU, is_grouped=False) == "float32"
