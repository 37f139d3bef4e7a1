"""Where training runs."""

from __future__ import annotations

import torch


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
