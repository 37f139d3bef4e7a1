"""Where training runs: the device, and the processor."""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path

import torch


@lru_cache(maxsize=1)
def processor_name() -> str:
    """Return what the machine's processor is called, as in "AMD EPYC"."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def resolve_device(name: str) -> torch.device:
    """Return the device that a name stands for; `auto` is CUDA, else MPS, else the CPU.

    ValueError where it isn't there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"device={name}: must be auto, cpu, cuda, cuda:N or mps")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device={name}: this machine has {torch.cuda.device_count()} CUDA devices; "
            f"device=auto takes one that is there"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device=mps: not available on this machine; use device=auto")
    return device
