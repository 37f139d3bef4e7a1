"""What a run was made with: versions and machine."""

from __future__ import annotations

import os
import platform
from functools import lru_cache
from importlib.metadata import version

from effbench.training.device import processor_name

PACKAGES = ("effbench", "torch", "torchvision", "numpy", "mlflow", "hydra-core")


@lru_cache(maxsize=1)
def describe_environment() -> dict[str, str]:
    """Return versions and machine, as tags."""
    tags = {f"version.{package}": version(package) for package in PACKAGES}
    tags["version.python"] = platform.python_version()
    tags["machine"] = describe_machine()
    return tags


@lru_cache(maxsize=1)
def describe_machine() -> str:
    """Return processor, number of cores and operating system, as in "AMD EPYC, 2 cores, Linux x86_64"."""
    return f"{processor_name()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"
