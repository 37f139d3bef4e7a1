"""The members of the configuration's groups, and the axes: effbench's own, then those in the user's folders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from effbench.config.axis import Axis
from effbench.config.hydra_session import compose, hydra_session, in_one_line
from effbench.config.search_path import conf_folder, search_path
from effbench.config.typed import typed
from effbench.config.yaml_files import read_yaml


def members(group: str, /) -> Mapping[str, dict[str, Any]]:
    """Return the members of a configuration group as they stand in their files: nothing overrides or resolves them.

    Read directly: composing takes a hundred times as long. Only what has a `defaults` list of its own is composed.
    """
    found = dict(_own(group))
    for name, (path, shown) in users_files(group).items():
        node = read_yaml(path, shown)
        found[name] = _composed(group, name) if "defaults" in node else node
    return {**found, **_brought(group)}


def users_members(group: str, /) -> dict[str, dict[str, Any]]:
    """Return the members of a group that are not effbench's own."""
    names = {*users_files(group), *_brought(group)}
    return {name: node for name, node in members(group).items() if name in names}


def _brought(group: str) -> Mapping[str, dict[str, Any]]:
    """Return the members that the configuration of a run brings along."""
    file = search_path().resolved
    return {} if file is None else file.members.get(group, {})


def declared_axes() -> dict[str, Axis]:
    """Return every axis, by name. ValueError, which names the file, for what is no declaration."""
    axes = dict(_own_axes())
    for name, (_, shown) in users_files("axis").items():
        try:
            axes[name] = typed(Axis, {"name": name, **_with_text(members("axis")[name])}, where=f"axis.{name}")
        except ValueError as error:
            raise ValueError(f"{shown}: {error}") from None
    for name, node in _brought("axis").items():
        axes[name] = typed(Axis, {"name": name, **_with_text(node)}, where=f"axis.{name}")
    return axes


def users_files(group: str, /) -> dict[str, tuple[Path, str]]:
    """Return the user's files of a group by their members' names: each path, and how the user would write it.

    Of several folders the first one's file counts, as for Hydra.
    """
    found: dict[str, tuple[Path, str]] = {}
    for folder in search_path().folders:
        for path in sorted((folder.path / group).glob("*.yaml")):
            if not path.name.startswith("."):  # an editor's
                found.setdefault(path.stem, (path, folder.shown(path)))
    return found


@contextmanager
def naming_the_file(group: str, member: str, /) -> Iterator[None]:
    """Have the ValueErrors about a member of the user's name its file."""
    try:
        yield
    except ValueError as error:
        files = users_files(group)
        if member not in files:
            raise
        key, _, problem = str(error).rpartition(": ")
        by_an_axis = group == "stage" and problem == "must be given"
        hint = f", or be the target of an axis, as in target: {key.removeprefix('stage.')}" if by_an_axis else ""
        raise ValueError(f"{error}{hint} (see {files[member][1]})") from None


@lru_cache(maxsize=32)
def _own(group: str) -> dict[str, dict[str, Any]]:
    paths = sorted((conf_folder() / group).glob("*.yaml"))
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths}


@lru_cache(maxsize=1)
def _own_axes() -> dict[str, Axis]:
    return {name: typed(Axis, {"name": name, **node}, where=f"axis.{name}") for name, node in _own("axis").items()}


def _with_text(node: dict[str, Any]) -> dict[str, Any]:
    """Return an axis's node with its example as text: one number needs no quotes in YAML, and a list is as clear."""
    example = node.get("example")
    values = example if isinstance(example, list) else [example]
    if example is None or not all(isinstance(value, str | int | float) for value in values):
        return node
    return {**node, "example": ",".join(map(str, values))}


def _composed(group: str, name: str) -> dict[str, Any]:
    """Return a member that is put together from others, by its `defaults`."""
    with naming_the_file(group, name), in_one_line(), hydra_session(search_path()):
        node = compose(overrides=[f"+{group}@member={name}"])
    plain = OmegaConf.to_container(node.member, resolve=False)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
