"""What decides a sweep beside its command, as far as files and packages show it, and whether any of it has changed.

This module imports nothing heavy: it is asked before a sweep is planned.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from effbench.checks.stamps import stamp_of

PACKAGE = Path(__file__).parents[1]
NESTED = ("experiment", "study", "hydra")
"""Folders of configuration whose files may lie in folders of their own."""
VARIABLES = ("PYTHONPATH", "MLFLOW_TRACKING_URI")
"""Variables of the environment that decide where code and runs are found."""


@dataclass(frozen=True, kw_only=True)
class Witnesses:
    """Files, folders and packages on which a result rests."""

    files: frozenset[str]
    folders: frozenset[str]
    """All that is in them counts, but for compiled Python."""
    packages: frozenset[str]
    """Distributions by their names."""
    configurations: frozenset[str] = frozenset()
    """Folders of configuration, of which only files of YAML count: the user's may hold data and runs as well."""

    def state(self) -> dict[str, Any]:
        """Return what changes when anything of it does, as JSON-able data. OSError where something is gone.

        Of files it is their stamp.
        """
        return {
            "files": {path: list(stamp_of(path)) for path in sorted(self.files)},
            "folders": {path: _digest(path) for path in sorted(self.folders)},
            "configurations": {path: _digest(path, ends=(".yaml", ".yml")) for path in sorted(self.configurations)},
            "packages": {name: _version(name) for name in sorted(self.packages)},
            "variables": {name: _hidden(os.environ.get(name)) for name in VARIABLES},
            "working_folder": os.getcwd(),  # what relative paths mean
            "python": sys.version,
            "machine": [platform.node(), platform.machine(), os.cpu_count()],
        }

    @classmethod
    def of_state(cls, state: Mapping[str, Any], /) -> Witnesses:
        """Return the witnesses whose state that was."""
        return cls(
            files=frozenset(state["files"]),
            folders=frozenset(state["folders"]),
            packages=frozenset(state["packages"]),
            configurations=frozenset(state["configurations"]),
        )


def _hidden(value: str | None) -> str | None:
    """Return what tells one value of a variable from another: it may hold a password."""
    return None if value is None else hashlib.sha256(value.encode(errors="surrogateescape")).hexdigest()[:16]


def _digest(folder: str, *, ends: tuple[str, ...] = ("",)) -> str:
    """Return a digest of the names and stamps of all files in a folder, or of those whose names have such an end."""
    digest = hashlib.sha256()
    for path in sorted(path for path in _files_in(folder) if path.endswith(ends)):
        digest.update(f"{path!r} {stamp_of(path)}\n".encode())
    return digest.hexdigest()[:16]


def _files_in(folder: str) -> Iterable[str]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield from (os.path.join(place, name) for name in files)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
