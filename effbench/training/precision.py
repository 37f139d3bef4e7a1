"""Which floating-point format a network is best trained in, on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch

TrainingPrecision = Literal["float32", "bfloat16", "float16"]

BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")
"""Names of `torch.cpu.get_capabilities` that stand for products of bfloat16 in hardware."""


def suited_precision(device: torch.device, /, *, is_grouped: bool) -> TrainingPrecision:
    """Return the format in which training is quickest on `device`, at equal accuracy.

    bfloat16 on a processor that has instructions for it (without them it is emulated, and several times slower than
    float32), unless the network has grouped or depthwise convolutions, whose bfloat16 kernels are slower than those of
    float32. float32 on every other device. `benchmarks/training_step.py` measures what it brings.
    """
    if device.type != "cpu" or is_grouped or not any(_capabilities().get(name) for name in BFLOAT16_INSTRUCTIONS):
        return "float32"
    return "bfloat16"


def _capabilities() -> Mapping[str, object]:
    # Not there in every version of torch that effbench runs with; unknown is "no".
    return torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
