"""The configuration of a run, once more: what `--config-dir` with a run's config.yaml stands for."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from hydra.core.override_parser.types import Override

from effbench.config.axis import Axis, Value
from effbench.config.command_line import CommandLine, Composed, check_seed, read_command_line
from effbench.config.hydra_keys import hydra_settings, is_hydras_own, set_environment
from effbench.config.hydra_session import hydra_session, in_one_line
from effbench.config.keys import ENGINES, LISTS_WITHIN, check_choice, check_count
from effbench.config.launcher_options import read_launcher
from effbench.config.members import declared_axes, members
from effbench.config.overrides import flat, parse, values_of
from effbench.config.resolved_file import NODES, PLAIN, ResolvedFile, hidden_keys
from effbench.config.search_path import SearchPath, conf_folder, searching, take_search_path
from effbench.config.typed import unknown_name

FREE = ("device", "coder", "tolerance", "dry_run")
"""Keys that nothing else in a configuration refers to: they may be given anew."""
FREE_NODES = ("saturation", "figure", "measure", "sweep", "store", "tracking", "engine")


def command_line_of(arguments: Sequence[str], file: ResolvedFile | None = None, /) -> CommandLine:
    """Return what a command asks for: all of it, or anew what a run's configuration in the folder of --config-dir says.

    file: the configuration, where it is read already. ValueError, in one line, for a command that does not fit, a file
    that was changed into none, and an argument that can't be given with one.
    """
    with in_one_line():
        path, others = take_search_path(arguments)
        path = path if file is None else SearchPath(resolved=file)
        if path.resolved is not None:
            with searching(path), hydra_session(path):
                return _read(path, path.resolved, parse(others))
    return read_command_line(arguments)


def _read(path: SearchPath, file: ResolvedFile, overrides: Sequence[Override]) -> CommandLine:
    axes = declared_axes()
    node = _with_defaults(file)
    axis_values = _axis_values(file, axes)
    seeds: Sequence[object] = list(flat([node["seed"]]))
    names: Sequence[object] = list(file.node["engine"])
    launcher = []
    settings = hydra_settings([override for override in overrides if is_hydras_own(override.key_or_group)])
    set_environment(settings)
    for override in (override for override in overrides if not is_hydras_own(override.key_or_group)):
        key = override.key_or_group
        if key in axes:
            axis_values[key] = tuple(dict.fromkeys(axes[key].check(value) for value in values_of(override)))
        elif key == "seed":
            seeds = list(flat(values_of(override)))
        elif key == "engine":
            names = list(flat(values_of(override)))
        elif key.startswith(("hydra/", "hydra.")):
            launcher.append(override)
        else:
            _set(node, override, file)
    for name in names:
        if name not in file.node["engine"]:
            check_choice("engine", name)
    _check_secrets(node, file)
    if not seeds:
        raise ValueError("seed=[]: give at least one value")
    composed = Composed(node=node, swept=file.header.get("swept", {}), choices=file.header["chosen"])
    return CommandLine(
        axes=axes,
        axis_values=axis_values,
        seeds=tuple(dict.fromkeys(check_seed(seed) for seed in seeds)),
        engines=tuple(dict.fromkeys(map(str, names))),
        configurations=(composed,),
        launcher=read_launcher(launcher, also=settings.of_launchers),
        hydra=settings,
        search_path=path,
        # One run is made again alone; a sweep, or other values of the axes, with what a sweep of these would have.
        with_controls="run_key" not in file.header or any(o.key_or_group in axes for o in overrides),
    )


def _with_defaults(file: ResolvedFile) -> dict[str, Any]:
    """Return a file's keys, with what an earlier version could not say of what decides no run."""
    defaults = yaml.safe_load((conf_folder() / "config.yaml").read_text(encoding="utf-8"))
    defaults["tracking"] = members("tracking")["default"]
    node = {key: copy.deepcopy(file.node[key]) for key in (*NODES, *PLAIN) if key != "engine"}
    for key in ("measure", "sweep", "store", "tracking"):
        node[key] = {**defaults[key], **node[key]}
    node[ENGINES] = copy.deepcopy({**members("engine"), **file.node["engine"]})
    return node


def _axis_values(file: ResolvedFile, axes: Mapping[str, Axis]) -> dict[str, tuple[Value, ...]]:
    found: dict[str, tuple[Value, ...]] = {}
    for key, value in file.node.items():
        if key in (*NODES, *PLAIN):
            continue
        if key not in axes:
            raise ValueError(f"{file.name}: {unknown_name(str(key), [*NODES, *PLAIN, *axes], 'key')}")
        values = value if isinstance(value, list) and axes[key].type != "str" else list(flat([value]))
        try:
            found[key] = tuple(dict.fromkeys(axes[key].check(each) for each in values))
        except ValueError as error:
            raise ValueError(f"{file.name}: {error}") from None
    return found


def _set(node: dict[str, Any], override: Override, file: ResolvedFile) -> None:
    """Give a key another value, if that is the only place that it has."""
    key = override.key_or_group
    top, _, rest = key.partition(".")
    is_free = key in FREE or (top in FREE_NODES and rest)
    if not is_free and key not in hidden_keys(node):
        raise ValueError(
            f"{override.input_line}: {file.name} is the configuration of a run, in which what follows from {key} is "
            f"written out; change it in the command instead: {file.command}"
        )
    check_count(override)
    values = list(values_of(override))
    where = node
    *parents, last = key.replace("engine.", f"{ENGINES}.", 1).split(".") if top == "engine" else key.split(".")
    for name in parents:
        if not isinstance(where.get(name), dict):
            raise ValueError(unknown_name(key, [f"{top}.{known}" for known in node.get(top, {})], "key"))
        where = where[name]
    where[last] = values if override.is_sweep_override() and key in LISTS_WITHIN else values[0]


def _check_secrets(node: Mapping[str, Any], file: ResolvedFile) -> None:
    for key in hidden_keys(node):
        if not key.startswith("tracking."):  # what is wrong there is told where it is used
            raise ValueError(f"{file.name}: {key}: *** stands for a secret that was left out; give it, as in {key}=…")
