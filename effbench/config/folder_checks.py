"""The user's folders of configuration, checked before anything of them is used: each refusal names the file."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from effbench.config.axis_checks import check_axes
from effbench.config.experiment_files import EXPERIMENTS
from effbench.config.members import members, users_files
from effbench.config.search_path import PRIMARY, Folder, SearchPath, conf_folder
from effbench.config.typed import unknown_name
from effbench.config.yaml_files import package_of, read_yaml

log = logging.getLogger(__name__)

NAMED_IN_KEYS = ("axis", "stage", "engine")
"""Groups whose members' names are parts of keys, as in stage.<name>.<option>."""
CALLED = ("data", "engine", "model", "stage", "task")
"""Groups whose members name something to call."""
COMPLETED = ("recipe", "train", "tracking")
"""Groups of which a member has all the keys that `default` has."""


def check_folders(path: SearchPath, /) -> None:
    """Refuse what is wrong with the files in the user's folders: ValueError, in one line that names the file."""
    for folder in path.folders:
        _check_layout(folder, is_primary_there=(folder.path / f"{path.primary}.yaml").is_file())
    if path.folders:
        for group in sorted(groups()):
            for name, (file, shown) in users_files(group).items():
                _check_member(group, name, read_yaml(file, shown), shown)
                _check_package(file, group, shown)
        check_axes()


def check_chosen(node: dict[Any, Any], choices: Mapping[str, str], /) -> None:
    """Refuse a composed configuration in which a member of the user's leaves keys out; a recipe is called as its file.

    ValueError names the file.
    """
    for group in COMPLETED:
        files = users_files(group)
        if choices[group] not in files:
            continue
        shown = files[choices[group]][1]
        if group == "recipe":
            node[group].setdefault("name", choices[group])
            if node[group]["name"] == "default":  # taken over with the rest of it
                node[group]["name"] = choices[group]
        missing = sorted(set(members(group)["default"]) - set(node[group]) - {"until"})
        if missing:
            raise ValueError(f"{shown}: lacks {', '.join(missing)}; begin it with defaults: [default, _self_]")
        own = {key for name, member in members(group).items() if name not in files for key in member}
        given = read_yaml(*files[choices[group]])
        for key in sorted(set(given) - own - {"defaults"}):
            raise ValueError(f"{shown}: {unknown_name(key, own, 'key')}")


@lru_cache(maxsize=1)
def groups() -> frozenset[str]:
    """Return the names of the configuration's groups: effbench's own folders."""
    return frozenset(path.name for path in conf_folder().iterdir() if path.is_dir())


def _check_layout(folder: Folder, *, is_primary_there: bool) -> None:
    """Refuse files that nothing would ever read, and tell of folders that are no group."""
    own_config = folder.path / f"{PRIMARY}.yaml"
    if own_config.is_file():
        raise ValueError(
            f"{folder.shown(own_config)}: effbench has a {own_config.name}, which Hydra finds first; for defaults of "
            "your own call it mine.yaml, begin it with defaults: [config, _self_], and give --config-name=mine"
        )
    try:
        inside = sorted(path for path in folder.path.iterdir() if path.is_dir() and path.name[0] not in "._")
    except OSError as error:
        raise ValueError(f"{folder.name}: can't be read ({error.strerror})") from None
    known = [path for path in inside if path.name in {*groups(), *EXPERIMENTS}]
    for path in (folder.path, *known):
        for misnamed in sorted(path.glob("*.yml")):
            raise ValueError(f"{folder.shown(misnamed)}: must be called {misnamed.stem}.yaml; Hydra reads no .yml")
    named = {*groups(), *EXPERIMENTS, "hydra"}
    others = [path for path in inside if path.name not in named and any(path.glob("*.yaml"))]
    for path in others:
        if not any(path.name in text for text in _defaults_in(known)):
            near = difflib.get_close_matches(path.name, {*groups(), *EXPERIMENTS}, n=1)
            hint = f"did you mean {folder.shown(folder.path / near[0])}?" if near else f"groups: {_listed()}"
            log.warning("%s: is no group of the configuration, and nothing reads it; %s", folder.shown(path), hint)
    if not (known or is_primary_there or (folder.path / "hydra").is_dir()):
        raise ValueError(f"{folder.name}: holds none of the folders that are groups: {_listed()}")


def _defaults_in(folders: Sequence[Path]) -> Iterator[str]:
    """Yield the `defaults` lists of files, as text: what they name is read too."""
    for path in (path for folder in folders for path in sorted(folder.rglob("*.yaml"))):
        yield str(read_yaml(path, str(path)).get("defaults", ""))


def _check_member(group: str, name: str, node: Mapping[str, Any], shown: str) -> None:
    if (conf_folder() / group / f"{name}.yaml").is_file():
        what = f"effbench has {_a(group)} of that name, which Hydra finds first"
        raise ValueError(f"{shown}: {what}; call yours otherwise")
    pattern = r"[A-Za-z_]\w*" if group in NAMED_IN_KEYS else r"\w[\w.-]*"
    if not re.fullmatch(pattern, name, re.ASCII):
        allowed = "letters, digits and _" if group in NAMED_IN_KEYS else "letters, digits, _, - and ."
        raise ValueError(f"{shown}: is no name for {_a(group)}; use {allowed}")
    if "defaults" in node:  # what it lacks may come from there
        node = members(group)[name]
    if group in CALLED and "_target_" not in node:
        raise ValueError(f"{shown}: _target_ must be given, as in _target_: my_package.my_module.my_{group}")
    if group == "task":
        _check_task(node, shown)
    if group == "recipe":
        _check_recipe(node, shown, name)


def _check_package(file: Path, group: str, shown: str) -> None:
    """Refuse a file whose keys would stand elsewhere than in its group: effbench reads them there."""
    package = package_of(file)
    if package not in (None, group, "_group_"):
        raise ValueError(
            f"{shown}: # @package {package}: its keys stand in {group}; leave the line out. A file in experiment/ sets "
            "keys of all groups, with # @package _global_"
        )


def _check_task(node: Mapping[str, Any], shown: str) -> None:
    """Refuse a task that does not say which network and data it brings, where none are named."""
    for group in ("model", "data"):
        if not isinstance(node.get(group), str):
            raise ValueError(f"{shown}: {group} must be given: the one that is taken where the command names none")
        # What is no plain name is another way to name a network or data set.
        if node[group] not in members(group) and re.fullmatch(r"\w+", node[group]):
            raise ValueError(f"{shown}: {unknown_name(f'{group}: {node[group]}', members(group), group)}")
    like = node.get("like", [])
    for other in like if isinstance(like, list) else [like]:
        if other not in members("task"):
            raise ValueError(f"{shown}: {unknown_name(f'like: {other}', members('task'), 'task')}")


def _check_recipe(node: Mapping[str, Any], shown: str, name: str) -> None:
    steps = node.get("steps")
    is_list = isinstance(steps, list) and all(isinstance(entry, str) or _is_names(entry) for entry in steps)
    if not steps or not is_list:
        raise ValueError(f"{shown}: steps must be a list of stages and phases, as in [train, [prune, finetune]]")
    if node.get("name", name) not in (name, "default"):
        raise ValueError(f"{shown}: name must be {name}, as the file is called, or left out")


def _is_names(entry: object) -> bool:
    return isinstance(entry, list) and all(isinstance(name, str) for name in entry)


def _a(group: str) -> str:
    return f"an {group}" if group[0] in "aeiou" else f"a {group}"


def _listed() -> str:
    return ", ".join(sorted({*groups(), *EXPERIMENTS}))
