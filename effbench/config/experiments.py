"""Experiments: files of the user's that say what a sweep is, read as the arguments that they stand for.

`+experiment=my_study` and `+study=my_study` take experiment/my_study.yaml, or study/my_study.yaml, of a folder of the
user's, as Hydra's users write it: `# @package _global_`, a `defaults` list that chooses (`override /model: lenet_5`)
and builds on others of its kind, keys, and axes, of which a list is swept. They become arguments, so that all that
holds on a command line holds of them: short forms, checks, a launcher. The command's own go before them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from effbench.checks.fields import shown as shown_value
from effbench.config.component_keys import HOMES
from effbench.config.experiment_files import experiment_files
from effbench.config.file_arguments import arguments_of_node
from effbench.config.keys import GROUPS
from effbench.config.search_path import search_path
from effbench.config.yaml_files import package_of, read_yaml


def arguments_of_experiment(group: str, name: object, /) -> Iterator[tuple[str, str]]:
    """Yield the arguments that an experiment stands for, each with the file that says it, later ones go before.

    ValueError, which names the file, for what is no such file.
    """
    files = experiment_files(group)
    if name not in files:
        raise ValueError(_unknown(group, name))
    yield from _arguments(*files[str(name)], package=None, within=())


def _unknown(group: str, name: object) -> str:
    files, folders = experiment_files(group), [folder.name for folder in search_path().folders]
    near = difflib.get_close_matches(str(name), files, n=1)
    where = f"known in {', '.join(f'{folder}/{group}' for folder in folders)}: {', '.join(sorted(files)) or 'none'}"
    if not folders:
        where = f"give the folder that holds {group}/{name}.yaml, as in --config-dir conf_mine"
    hint = f"did you mean {group}={near[0]}? " if near else ""
    return f"{group}={shown_value(name)}: there is no such choice; {hint}{where}"


def _arguments(path: Path, shown: str, *, package: str | None, within: tuple[Path, ...]) -> Iterator[tuple[str, str]]:
    """Yield the arguments of a file. package: where its keys stand, if whoever names it says so."""
    if path in within:
        raise ValueError(f"{shown}: builds on itself")
    node = read_yaml(path, shown)
    defaults = node.pop("defaults", [])
    if not isinstance(defaults, list):
        raise ValueError(f"{shown}: defaults must be a list, as in [override /model: lenet_5, _self_]")
    package = _package(path, shown) if package is None else package
    own = [(argument, shown) for argument in _of_node(node, package, shown)]
    is_done = False
    for entry in defaults:
        if entry == "_self_":
            yield from own
            is_done = True
        else:
            yield from _of_entry(entry, path, shown, (*within, path))
    if not is_done:  # as Hydra has it
        yield from own


def _package(path: Path, shown: str) -> str:
    """Return where the keys of a file stand, as its first lines say; "" where that is at the top."""
    header = package_of(path)
    if header is not None:
        return "" if header == "_global_" else header
    raise ValueError(f"{shown}: must begin with the line # @package _global_, without which its keys stand nowhere")


def _of_node(node: Mapping[str, Any], package: str, shown: str) -> Iterator[str]:
    nested: dict[str, Any] = dict(node)
    for part in reversed(package.split(".") if package else []):
        nested = {part: nested}
    try:
        yield from arguments_of_node(nested)
    except ValueError as error:
        raise ValueError(f"{shown}: {error}") from None


def _of_entry(entry: Any, path: Path, shown: str, within: tuple[Path, ...]) -> Iterator[tuple[str, str]]:
    """Yield the arguments of one entry of a defaults list."""
    if isinstance(entry, str):
        words, value = entry.split(), None
    elif isinstance(entry, Mapping) and len(entry) == 1:
        (key, value), words = next(iter(entry.items())), []
        words = str(key).split()
        if value is None:
            return  # nothing is chosen
    else:
        raise ValueError(f"{shown}: defaults: {shown_value(entry)} is no entry; as in override /model: lenet_5")
    options, name = words[:-1], words[-1]
    unknown = [word for word in options if word not in ("override", "optional")]
    if unknown or (not isinstance(value, str | list) and value is not None):
        raise ValueError(f"{shown}: defaults: {shown_value(entry)} is no entry; as in override /model: lenet_5")
    if "override" in options:
        yield f"{_overridden(name, shown)}={_one(value, entry, shown)}", shown
        return
    group, _, package = name.partition("@")
    for member in value if isinstance(value, list) else [value]:
        yield from _included(group, member, package, path, shown, within, is_optional="optional" in options)


def _included(
    group: str, member: Any, package: str, path: Path, shown: str, within: tuple[Path, ...], *, is_optional: bool
) -> Iterator[tuple[str, str]]:
    """Yield the arguments of a file that another one builds on. group: with a slash before it from the folder's top."""
    top = group.lstrip("/").partition("/")[0]
    if group.startswith("/") and top in GROUPS:
        raise ValueError(f"{shown}: defaults: {group}: write override {group}: {member}, as it is chosen already")
    wanted = f"{group}/{member}" if member is not None else group
    for folder in search_path().folders:
        begin = folder.path if group.startswith("/") else path.parent
        place = (begin / f"{wanted.lstrip('/').removesuffix('.yaml')}.yaml").absolute()
        if place.is_file():
            said = place.relative_to(folder.path) if place.is_relative_to(folder.path) else place
            named = folder.shown(folder.path / said)
            yield from _arguments(place, named, package=_given(package), within=within)
            return
    if not is_optional:
        raise ValueError(f"{shown}: defaults: there is no {wanted}.yaml in {', '.join(_searched())}")


def _given(package: str) -> str | None:
    return None if not package else "" if package == "_global_" else package


def _searched() -> list[str]:
    return [folder.name for folder in search_path().folders]


def _overridden(group: str, shown: str) -> str:
    """Return the group that `override …` names, as the command line has it."""
    name = group.lstrip("/")
    if "@" in name or not (group.startswith("/") or name.startswith("hydra/")):
        raise ValueError(f"{shown}: defaults: override {group}: write override /{name.partition('@')[0]}")
    return f"train.{name}" if name in HOMES else name


def _one(value: Any, entry: Any, shown: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{shown}: defaults: {shown_value(entry)}: names one, as in override /model: lenet_5")
    return value
