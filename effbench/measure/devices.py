"""The devices on which PyTorch's engines run."""

from __future__ import annotations

import re

import torch


def check_device(name: str, /) -> None:
    """Refuse what is no device. ValueError."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?|mps", name):
        raise ValueError(f"device={name}: must be cpu, cuda, cuda:N or mps")


def wait_for(device: str, /) -> None:
    """Wait until what was started on a device is done; the CPU is never behind."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()
