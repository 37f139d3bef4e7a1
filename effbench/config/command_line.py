"""The command line, read: overrides into axis values and composed configurations.

Hydra's grammar and composition are used through its public API. What they don't do is done here: axes need no `+`, an
unknown key is an error whatever its prefix, and a sweep composes once per combination of keys other than axes and seed,
so that hundreds of points cost no more than one.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from effbench.checks.fields import shown
from effbench.config.axis import Axis, Value
from effbench.config.keys import ENGINES, GROUPS, MEASURED_LISTS, check_choice, check_count, check_key, options_of
from effbench.config.overrides import flat, list_line, parse, single_lines, values_of
from effbench.config.training import is_component_key, named_components, with_components
from effbench.config.typed import typed

OF_THE_TASK = ("model", "data")
"""The groups whose default is the task's."""


@dataclass(frozen=True, kw_only=True)
class Composed:
    """One configuration, and the values of the swept keys (axes and seed apart) that led to it."""

    node: Mapping[str, Any]
    swept: Mapping[str, Any]
    choices: Mapping[str, str]
    """The member of each configuration group that was chosen, such as {"model": "small_cnn"}."""


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """What the user asked for. `axis_values` and `seeds` hold at least one value each, as they came, once."""

    axes: Mapping[str, Axis]
    axis_values: Mapping[str, tuple[Value, ...]]
    seeds: tuple[int, ...]
    engines: tuple[str, ...]
    """The engines that latency is measured on."""
    configurations: tuple[Composed, ...]
    launcher: tuple[str, ...]
    """The overrides that are Hydra's own: which launcher runs the points, and how."""


def conf_folder() -> Path:
    """Return the folder of the configuration: inside the installed package, beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def read_command_line(arguments: Sequence[str], /) -> CommandLine:
    """Parse and compose. ValueError, in one clear line, for anything that does not fit."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_folder().resolve()), version_base="1.3"):
        try:
            return _read(arguments)
        except (HydraException, OmegaConfBaseException) as error:
            raise ValueError(_one_line(error)) from None


@lru_cache(maxsize=1)
def declared_axes() -> dict[str, Axis]:
    """Return every axis, from conf/axis/*.yaml."""
    return {name: typed(Axis, {"name": name, **node}, where=f"axis.{name}") for name, node in members("axis").items()}


@lru_cache(maxsize=16)
def members(group: str, /) -> dict[str, dict[str, Any]]:
    """Return the members of a configuration group as they stand in conf/: nothing overrides or resolves them.

    Read directly: composing takes a hundred times as long.
    """
    paths = sorted((conf_folder() / group).glob("*.yaml"))
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths}


def _read(arguments: Sequence[str]) -> CommandLine:
    axes = declared_axes()
    axis_values: dict[str, tuple[Value, ...]] = {}
    seeds: tuple[object, ...] = ()
    engines: tuple[object, ...] = ()
    others: list[Override] = []
    launcher: list[Override] = []
    for override in parse(arguments):
        key = override.key_or_group
        if key in axes:
            axis_values[key] = tuple(dict.fromkeys(axes[key].check(value) for value in values_of(override)))
        elif key == "seed":
            seeds = _at_least_one(override)
        elif key == "engine":
            engines = _at_least_one(override)
        elif key.partition(".")[0] == ENGINES:
            raise ValueError(f"{key}: there is no such key; did you mean engine{key.removeprefix(ENGINES)}?")
        elif key.startswith("engine."):
            others.append(dataclasses.replace(override, key_or_group=f"{ENGINES}.{key.removeprefix('engine.')}"))
        elif key == "hydra/launcher" or key.startswith("hydra.launcher."):
            launcher.append(override)
        else:
            others.append(override)
    configurations = tuple(_compositions(others, tuple(axes)))
    seeds = seeds or (configurations[0].node["seed"],)
    engines = engines or tuple(flat([configurations[0].node["engine"]]))
    for name in engines:
        check_choice("engine", name)
    return CommandLine(
        axes=axes,
        axis_values=axis_values,
        seeds=tuple(dict.fromkeys(_check_seed(seed) for seed in seeds)),
        engines=tuple(dict.fromkeys(map(str, engines))),
        configurations=configurations,
        launcher=_check_launcher(launcher),
    )


def _at_least_one(override: Override) -> tuple[object, ...]:
    values = tuple(flat(values_of(override)))
    if not values:
        raise ValueError(f"{override.input_line}: give at least one value")
    return values


def _compositions(overrides: Sequence[Override], axis_names: Sequence[str]) -> Iterator[Composed]:
    """Compose each combination of the values of the swept overrides."""
    groups = [override for override in overrides if override.key_or_group in GROUPS]
    for override in groups:
        check_count(override)
        for value in values_of(override):
            check_choice(override.key_or_group, value)
    plain = [override for override in overrides if override not in groups]
    if plain:
        first_choices = {override.key_or_group: next(single_lines(override, "")) for override in groups}
        base = _compose([*_of_the_task(first_choices), *first_choices.values()])
        for override in plain:
            check_key(override, base, axis_names)
            check_count(override)
    swept = [o for o in overrides if o.is_sweep_override() and o.key_or_group not in MEASURED_LISTS]
    fixed = {override.key_or_group: _line(override) for override in overrides if override not in swept}
    for combination in itertools.product(*(tuple(single_lines(o, _prefix(o))) for o in swept)):
        lines = {**fixed, **{o.key_or_group: line for o, line in zip(swept, combination, strict=True)}}
        defaults = _of_the_task(lines)
        components = {key: line for key, line in lines.items() if is_component_key(key)}
        node = _compose([*defaults, *(line for key, line in lines.items() if key not in components)])
        with_components(node, components, members)
        _keep_given_options(node, overrides)
        composed = OmegaConf.to_container(node, resolve=False)
        assert isinstance(composed, dict)
        keys = {o.key_or_group: line.split("=", 1)[1] for o, line in zip(swept, combination, strict=True)}
        chosen = dict(line.split("=", 1) for line in (*defaults, *(lines[g] for g in GROUPS if g in lines)))
        yield Composed(
            node=named_components({str(key): value for key, value in composed.items()}, members),
            swept=keys,
            choices={group: chosen.get(group, _DEFAULTS.get(group, "default")) for group in GROUPS},
        )


_DEFAULTS = {"task": "classification"}


def _of_the_task(lines: Mapping[str, str]) -> list[str]:
    """Return the overrides that bring in the task's network and data, where none are asked for."""
    task = lines.get("task", f"task={_DEFAULTS['task']}").split("=", 1)[1]
    return [f"{group}={members('task')[task][group]}" for group in OF_THE_TASK if group not in lines]


def _compose(overrides: Sequence[str]) -> DictConfig:
    every = [f"+{group}@{node}.{name}={name}" for group, node in _EVERY.items() for name in options_of(group)]
    return hydra.compose("config", overrides=[*every, *overrides])


_EVERY = {"stage": "stage", "engine": ENGINES}
"""Groups of which every member is brought in, under its own name, and the nodes that hold them."""


def _line(override: Override) -> str:
    prefix = _prefix(override)
    return list_line(override, prefix) if override.is_sweep_override() else next(single_lines(override, prefix))


def _prefix(override: Override) -> str:
    """Return what makes Hydra take an override whether or not its key is there: that was checked, and more clearly."""
    return "" if override.key_or_group in GROUPS else "++"


def _check_launcher(overrides: Sequence[Override]) -> tuple[str, ...]:
    lines = tuple(override.input_line or "" for override in overrides)
    for override in overrides:
        if override.key_or_group == "hydra/launcher":
            for value in values_of(override):
                check_choice("hydra/launcher", value)
    if lines:
        GlobalHydra.instance().config_loader().load_configuration("config", list(lines), run_mode=RunMode.MULTIRUN)
    return lines


def _keep_given_options(node: DictConfig, overrides: Sequence[Override]) -> None:
    """Drop what is said of a network or data set that a `_target_` of the user's own replaces: it does not hold of it.

    The options of a network go, which the new one may not know; and for which tasks either is.
    """
    given = [override.key_or_group for override in overrides]
    OmegaConf.set_struct(node, False)
    for group in OF_THE_TASK:
        if f"{group}._target_" in given:
            kept = {key.split(".")[1] for key in given if key.startswith(f"{group}.")}
            for name in list(node[group]):
                if name not in kept and (group == "model" or name == "tasks"):
                    del node[group][name]


def _check_seed(seed: object) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed={shown(seed)}: must be a whole number, 0 or more; seed=0,1,2 repeats every point")
    return seed


def _one_line(error: Exception) -> str:
    """Return the gist of one of Hydra's messages, which run over several lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    unknown = re.match(r"Could not override '(?P<key>[^']+)'", lines[0] if lines else "")
    if unknown:
        return f"{unknown['key']}: there is no such key"
    kept = [line for line in lines if not line.startswith(("full_key:", "object_type=", "See https", "^"))]
    return " ".join(kept[:2]) or type(error).__name__
