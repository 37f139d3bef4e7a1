"""The defaults of every run: effbench's config.yaml, or a file of the user's that builds on it (--config-name)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from effbench.config.axis import Axis
from effbench.config.hydra_session import compose
from effbench.config.keys import ENGINES, GROUPS, check_known
from effbench.config.search_path import PRIMARY, conf_folder, primary_file, search_path
from effbench.config.yaml_files import read_yaml

BESIDE = ("defaults", "hydra", "imports")
"""Keys of such a file that are no keys of runs."""
_BUILD_ON = "begin it with defaults: [config, _self_]"


@dataclass(frozen=True)
class Choices:
    """The members of the groups that runs begin with."""

    members: Mapping[str, str]
    named: frozenset[str]
    """Groups of which the user's file names the member itself; others follow the task."""


def primary_choices() -> Choices:
    """Return what the defaults of every run choose, within a session of Hydra."""
    if search_path().primary == PRIMARY:
        path = conf_folder() / f"{PRIMARY}.yaml"
        entries = [entry for entry in read_yaml(path, str(path))["defaults"] if isinstance(entry, dict)]
        return Choices({group: name for entry in entries for group, name in entry.items()}, frozenset())
    loader = GlobalHydra.instance().config_loader()
    found = loader.compute_defaults_list(search_path().primary, [], RunMode.RUN).overrides
    members = {group: str(found.known_choices[group]) for group in GROUPS if group in found.known_choices}
    return Choices(members, frozenset(found.override_choices))


def check_primary(axes: Mapping[str, Axis], /) -> None:
    """Refuse a file of defaults that sets what has no effect there: ValueError, which names the file and the key.

    Within a session of Hydra.
    """
    if search_path().primary == PRIMARY:
        return
    file, shown = primary_file()
    node = read_yaml(file, shown)
    for key in (key for entry in node.get("defaults", []) for key in _keys_of(entry)):
        group = key.removeprefix("optional ").removeprefix("override ").lstrip("/")
        if group in ("experiment", "study") and _chosen(node["defaults"], key) is not None:
            raise ValueError(f"{shown}: {key}: is chosen on the command line, as in +{group}=…")
    base = compose(PRIMARY)
    if set(base) - set(compose(search_path().primary)):
        raise ValueError(f"{shown}: does not build on effbench's defaults; {_BUILD_ON}")
    for key in node:
        if key in axes:
            raise ValueError(f"{shown}: {key} is an axis; sweep it on the command line, as in {axes[key].name}=…")
        if key in ("stage", "engine", ENGINES) and isinstance(node[key], Mapping):
            raise ValueError(f"{shown}: {key}: options are given on the command line, as in {key}.<name>.<option>=…")
    try:
        check_known({key: value for key, value in node.items() if key not in BESIDE}, base, [*axes])
    except ValueError as error:
        raise ValueError(f"{shown}: {error}") from None


def _keys_of(entry: Any) -> list[str]:
    return [str(key) for key in entry] if isinstance(entry, Mapping) else [str(entry)]


def _chosen(defaults: Sequence[Any], key: str) -> Any:
    return next(entry[key] for entry in defaults if isinstance(entry, Mapping) and key in entry)
