"""The files of experiments and studies in the user's folders. It imports nothing heavy: shells complete by it."""

from __future__ import annotations

from pathlib import Path

from effbench.config.search_path import search_path

EXPERIMENTS = ("experiment", "study")
"""Groups of files of the user's that say what a sweep is. effbench has none of its own."""


def experiment_files(group: str, /) -> dict[str, tuple[Path, str]]:
    """Return the user's files of a group, with those in its folders (a/b), by name: each path, and how it is shown."""
    found: dict[str, tuple[Path, str]] = {}
    for folder in search_path().folders:
        for path in sorted((folder.path / group).rglob("*.yaml")):
            if not path.name.startswith("."):
                name = path.relative_to(folder.path / group).with_suffix("").as_posix()
                found.setdefault(name, (path, folder.shown(path)))
    return found
