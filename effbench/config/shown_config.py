"""The configuration of a command as `--cfg job|hydra|all` prints it: what runs would have, and nothing runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from effbench.checks.secrets import hide_in_values
from effbench.config.command_line import CommandLine
from effbench.config.hydra_keys import hydra_node
from effbench.config.hydra_session import hydra_session, in_one_line
from effbench.config.redo import command_line_of
from effbench.config.references import why_unresolved
from effbench.config.search_path import searching
from effbench.config.typed import unknown_name


def config_text(arguments: Sequence[str], /, *, kind: str, package: str | None = None, resolve: bool = False) -> str:
    """Return the YAML of a command's first configuration, with the axes at its top, as Hydra prints it.

    kind: "job", "hydra" (its own node), or "all". package: one node of it. resolve: with references resolved.
    ValueError, in one line, for a command that does not fit, a node that is not there, a reference to nothing.
    """
    command = command_line_of(arguments)
    with in_one_line(), searching(command.search_path), hydra_session(command.search_path):
        config = whole_config(command, with_hydra=kind != "job")
        HydraConfig.instance().cfg = config if "hydra" in config else None  # type: ignore[assignment]
        if kind == "hydra":
            config = _only(config, "hydra")
        found: Any = config
        if package not in (None, "_global_"):
            found = _selected(config, str(package))
        if resolve and OmegaConf.is_config(found):
            _resolve(config, found)
        if not OmegaConf.is_config(found):
            return "null" if found is None else str(found)
        lines = [f"# @package {package}"] if package is not None else []
        if kind != "hydra":
            lines += _comments(command)
        return "\n".join([*lines, OmegaConf.to_yaml(found).rstrip("\n")])


def whole_config(command: CommandLine, /, *, with_hydra: bool) -> DictConfig:
    """Return the first configuration of a command with its axes, and Hydra's node beside it, within a session."""
    first = command.configurations[0].node
    axes = {name: values[0] if len(values) == 1 else list(values) for name, values in command.axis_values.items()}
    several = {"seed": command.seeds, "engine": command.engines}
    given = {name: values[0] if len(values) == 1 else list(values) for name, values in several.items()}
    plain = {**axes, **hide_in_values({**first, **given})}
    if with_hydra:
        plain = {**plain, "hydra": hydra_node((*command.hydra.lines, *command.launcher), command.search_path.primary)}
    return OmegaConf.create(plain)


def _comments(command: CommandLine) -> list[str]:
    """Return what a configuration does not show: that there are others, and what they are."""
    n = len(command.configurations)
    if n == 1:
        return []
    swept: dict[str, list[str]] = {}
    for composed in command.configurations:
        for key, value in composed.swept.items():
            swept.setdefault(key, []).append(str(value))
    said = " ".join(f"{key}={','.join(dict.fromkeys(values))}" for key, values in swept.items())
    return [f"# the first of {n} configurations: {said}"]


def _only(config: DictConfig, key: str) -> DictConfig:
    whole = OmegaConf.masked_copy(config, [key])
    assert isinstance(whole, DictConfig)
    return whole


_NOTHING = object()


def _selected(config: DictConfig, package: str) -> Any:
    """Return a node of a configuration. ValueError where it is not there."""
    try:
        found = OmegaConf.select(config, package, default=_NOTHING)
    except OmegaConfBaseException as error:
        raise ValueError(f"--package {package}: {why_unresolved(error)}") from None
    if found is _NOTHING:
        top = package.rpartition(".")[0]
        beside = OmegaConf.select(config, top) if top else config
        known = [f"{top}.{name!s}" if top else str(name) for name in beside] if isinstance(beside, DictConfig) else []
        raise ValueError(f"--package {unknown_name(package, known or [str(name) for name in config], 'node')}")
    return found


def _resolve(config: DictConfig, found: Any) -> None:
    """Resolve a node in place, but for what Hydra fills in when runs begin."""
    try:
        if "hydra" in config and found is config:
            for name in config:
                if name != "hydra" and OmegaConf.is_config(config[name]):
                    OmegaConf.resolve(config[name])
        else:
            OmegaConf.resolve(found)
    except OmegaConfBaseException as error:
        raise ValueError(f"{error.full_key or '--resolve'}: {why_unresolved(error)}") from None
