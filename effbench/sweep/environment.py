"""What a run was made with: versions, machine, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import lru_cache
from importlib.metadata import version

from effbench.training.device import processor_name

PACKAGES = ("effbench", "torch", "torchvision", "numpy", "mlflow", "hydra-core")


@lru_cache(maxsize=1)
def describe_environment() -> dict[str, str]:
    """Return versions, machine and commit, as tags."""
    tags = {f"version.{package}": version(package) for package in PACKAGES}
    tags["version.python"] = platform.python_version()
    tags["machine"] = describe_machine()
    commit = git_commit()
    if commit is not None:
        tags["mlflow.source.git.commit"] = commit
    return tags


@lru_cache(maxsize=1)
def describe_machine() -> str:
    """Return processor, number of cores and operating system, as in "AMD EPYC, 2 cores, Linux x86_64"."""
    return f"{processor_name()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"


def git_commit() -> str | None:
    """Return the commit of the working folder, marked when files differ from it; None outside git."""
    try:
        commit = _git("rev-parse", "HEAD")
        return f"{commit}-modified" if _git("status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    finished = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=True)
    return finished.stdout.strip()
