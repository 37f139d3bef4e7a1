"""The command line, read: overrides into axis values and composed configurations.

Hydra's grammar and composition are used through its public API. What they don't do is done here: axes need no `+`, an
unknown key is an error whatever its prefix, and a sweep composes once per combination of keys other than axes and seed,
so that hundreds of points cost no more than one.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from effbench.checks.fields import shown
from effbench.config.axis import Axis, Value
from effbench.config.component_keys import is_component_key
from effbench.config.folder_checks import check_chosen, check_folders
from effbench.config.hydra_keys import HydraSettings, check_run_mode, hydra_settings, is_hydras_own, set_environment
from effbench.config.hydra_session import compose, hydra_session, in_one_line
from effbench.config.keys import ENGINES, GROUPS, LISTS_WITHIN, check_choice, check_count, check_key, options_of
from effbench.config.launcher_options import read_launcher
from effbench.config.layers import layers_of
from effbench.config.members import declared_axes, members
from effbench.config.overrides import flat, list_line, single_lines, values_of
from effbench.config.pretrained import follow_weights
from effbench.config.primary import check_primary, primary_choices
from effbench.config.references import with_references
from effbench.config.search_path import SearchPath, search_path, searching, take_search_path
from effbench.config.short_forms import as_typed, check_choice_or_short_form, expanded
from effbench.config.training import named_components, with_components

OF_THE_TASK = ("model", "data")
"""The groups whose default is the task's."""


@dataclass(frozen=True, kw_only=True)
class Composed:
    """One configuration, and the values of the swept keys (axes and seed apart) that led to it."""

    node: Mapping[str, Any]
    swept: Mapping[str, Any]
    choices: Mapping[str, str]
    """The member of each configuration group that was chosen, such as {"model": "small_cnn"}."""
    overrides: tuple[str, ...] = ()
    """What Hydra composed it from."""


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
    search_path: SearchPath = field(default_factory=SearchPath)
    """Where the configuration was found."""
    hydra: HydraSettings = field(default_factory=HydraSettings)
    """What is said of Hydra itself."""
    with_controls: bool = True
    """Whether controls are run beside the points that are asked for."""

    @property
    def n_points(self) -> int:
        """How many points are asked for, references apart."""
        return len(self.configurations) * len(self.seeds) * math.prod(map(len, self.axis_values.values()))


def read_command_line(arguments: Sequence[str], /) -> CommandLine:
    """Parse and compose. ValueError, in one clear line, for anything that does not fit."""
    with in_one_line():
        path, others = take_search_path(arguments)
        with searching(path), hydra_session(path):
            check_folders(path)
            axes = declared_axes()
            check_primary(axes)
            layers = layers_of(others, axes)
            with layers.naming_files():
                command = _read(layers.overrides, axes)
                check_run_mode(arguments, command.hydra, command.n_points)
                return command


def _read(overrides: Sequence[Override], axes: Mapping[str, Axis]) -> CommandLine:
    axis_values: dict[str, tuple[Value, ...]] = {}
    seeds: tuple[object, ...] = ()
    engines: tuple[object, ...] = ()
    others: list[Override] = []
    launcher: list[Override] = []
    settings = hydra_settings([override for override in overrides if is_hydras_own(override.key_or_group)])
    set_environment(settings)
    for override in with_references([o for o in overrides if not is_hydras_own(o.key_or_group)], axes):
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
        elif key.startswith(("hydra/", "hydra.")):
            launcher.append(override)
        else:
            others.append(override)
    configurations = tuple(_compositions(others, tuple(axes)))
    seeds = seeds or tuple(flat([configurations[0].node["seed"]]))
    engines = engines or tuple(flat([configurations[0].node["engine"]]))
    for name in engines:
        check_choice("engine", name)
    return CommandLine(
        axes=axes,
        axis_values=axis_values,
        seeds=tuple(dict.fromkeys(check_seed(seed) for seed in seeds)),
        engines=tuple(dict.fromkeys(map(str, engines))),
        configurations=configurations,
        launcher=read_launcher(launcher, also=settings.of_launchers),
        hydra=settings,
        search_path=search_path(),
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
            check_choice_or_short_form(override.key_or_group, value)
    plain = [override for override in overrides if override not in groups]
    if plain:
        first_choices = expanded({override.key_or_group: next(single_lines(override, "")) for override in groups})
        base = _compose([*_of_the_task(first_choices), *first_choices.values()])
        for override in plain:
            check_key(override, base, axis_names)
            check_count(override)
    swept = [o for o in overrides if o.is_sweep_override() and o.key_or_group not in LISTS_WITHIN]
    fixed = {override.key_or_group: _line(override) for override in overrides if override not in swept}
    for combination in itertools.product(*(tuple(single_lines(o, _prefix(o))) for o in swept)):
        lines = {**fixed, **{o.key_or_group: line for o, line in zip(swept, combination, strict=True)}}
        written = expanded(lines)
        defaults = _of_the_task(written)
        components = {key: line for key, line in written.items() if is_component_key(key)}
        composed_from = (*defaults, *(line for key, line in written.items() if key not in components))
        node = _compose(composed_from)
        with_components(node, components, members)
        _keep_given_options(node, written)
        follow_weights(node, written)
        composed = OmegaConf.to_container(node, resolve=False)
        assert isinstance(composed, dict)
        composed.pop("imports", None)  # of a file of defaults
        keys = {o.key_or_group: as_typed(line) for o, line in zip(swept, combination, strict=True)}
        chosen = dict(line.split("=", 1) for line in defaults) | {g: as_typed(lines[g]) for g in GROUPS if g in lines}
        choices = {**primary_choices().members, **chosen}
        check_chosen(composed, choices)
        yield Composed(
            node=named_components({str(key): value for key, value in composed.items()}, members),
            swept=keys,
            choices=choices,
            overrides=composed_from,
        )


def _of_the_task(lines: Mapping[str, str]) -> list[str]:
    """Return the overrides that bring in the task's network and data, where none are asked for."""
    primary = primary_choices()
    task = lines.get("task", f"task={primary.members['task']}").split("=", 1)[1]
    return [f"{group}={members('task')[task][group]}" for group in OF_THE_TASK if group not in {*lines, *primary.named}]


def _compose(overrides: Sequence[str]) -> DictConfig:
    return compose(search_path().primary, [*every_member(), *overrides])


def every_member() -> list[str]:
    """Return the overrides that bring in what every configuration holds: all stages and all engines."""
    return [f"+{group}@{node}.{name}={name}" for group, node in _EVERY.items() for name in options_of(group)]


_EVERY = {"stage": "stage", "engine": ENGINES}
"""Groups of which every member is brought in, under its own name, and the nodes that hold them."""


def _line(override: Override) -> str:
    prefix = _prefix(override)
    return list_line(override, prefix) if override.is_sweep_override() else next(single_lines(override, prefix))


def _prefix(override: Override) -> str:
    """Return what makes Hydra take an override whether or not its key is there: that was checked, and more clearly."""
    return "" if override.key_or_group in GROUPS else "++"


def _keep_given_options(node: DictConfig, given: Collection[str]) -> None:
    """Drop what is said of a network or data set that a `_target_` of the user's own replaces: it does not hold of it.

    Its options go, which the new one may not know or mean otherwise; how long it is trained on; for which tasks it is.
    """
    OmegaConf.set_struct(node, False)
    for group in OF_THE_TASK:
        if f"{group}._target_" in given:
            kept = {key.split(".")[1] for key in given if key.startswith(f"{group}.")}
            for name in list(node[group]):
                if name not in kept:
                    del node[group][name]


def check_seed(seed: object, /) -> int:
    """Return a seed. ValueError for what is none."""
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed={shown(seed)}: must be a whole number, 0 or more; seed=0,1,2 repeats every point")
    return seed
