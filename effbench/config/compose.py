"""The command line, read: overrides into axis values and composed configurations.

Hydra's grammar and composition are used through its public API. What they don't do is done here: axes need no `+`, an
unknown key is an error whatever its prefix, and a sweep composes once per combination of keys other than axes and seed,
so that hundreds of points cost no more than one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString, Transformer
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from effbench.config.axis import Axis, Value
from effbench.config.typed import typed, unknown_name

MEASURED_LISTS = ("measure.batch", "measure.threads")
"""Keys whose several values are measured within each run: they never multiply runs."""
FREE_NODES = ("model.", "data.")
"""Nodes whose keys are the options of a factory: it says itself which it takes."""


@dataclass(frozen=True, kw_only=True)
class Composed:
    """One configuration, and the values of the swept keys (axes and seed apart) that led to it."""

    node: Mapping[str, Any]
    swept: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """What the user asked for. `axis_values` and `seeds` hold at least one value each, as they came, once."""

    axes: Mapping[str, Axis]
    axis_values: Mapping[str, tuple[Value, ...]]
    seeds: tuple[int, ...]
    engines: Mapping[str, Mapping[str, Any]]
    """The configuration of each engine that latency is measured on, by name."""
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


def options_of(group: str) -> list[str]:
    """Return the names of a configuration group: the YAML files in its folder."""
    found: list[str] = GlobalHydra.instance().config_loader().get_group_options(group, results_filter=ObjectType.CONFIG)
    return found


def declared_axes() -> dict[str, Axis]:
    """Return every axis, from conf/axis/*.yaml."""
    with hydra.initialize_config_dir(str(conf_folder().resolve()), version_base="1.3"):
        return _axes(_compose(_every("axis")))


def _read(arguments: Sequence[str]) -> CommandLine:
    overrides = _parse(arguments)
    axes = _axes(_compose(_every("axis")))
    axis_values: dict[str, tuple[Value, ...]] = {}
    seeds: tuple[object, ...] = ()
    engines: tuple[object, ...] = ()
    others: list[Override] = []
    launcher: list[str] = []
    for override in overrides:
        key = override.key_or_group
        if key in axes:
            axis_values[key] = tuple(dict.fromkeys(axes[key].check(value) for value in _values(override)))
        elif key == "seed":
            seeds = tuple(_flat(_values(override)))
        elif key == "engine":
            engines = tuple(_flat(_values(override)))
        elif key == "hydra/launcher" or key.startswith("hydra.launcher."):
            launcher.append(override.input_line or "")
        else:
            others.append(override)
    configurations = tuple(_compositions(others, tuple(axes)))
    seeds = seeds or (configurations[0].node["seed"],)
    engines = engines or tuple(_flat([configurations[0].node["engine"]]))
    return CommandLine(
        axes=axes,
        axis_values=axis_values,
        seeds=tuple(dict.fromkeys(_check_seed(seed) for seed in seeds)),
        engines=_engines(engines),
        configurations=configurations,
        launcher=_check_launcher(launcher),
    )


def _parse(arguments: Sequence[str]) -> list[Override]:
    parser = OverridesParser.create()
    parsed = []
    for argument in arguments:
        try:
            parsed.append(parser.parse_override(argument))
        except HydraException:
            raise ValueError(
                f"{argument}: must be key=value, as in +prune=0.1,0.5,0.9 or model=lenet_5; see --help"
            ) from None
    return parsed


def _compositions(overrides: Sequence[Override], axis_names: Sequence[str]) -> Iterator[Composed]:
    """Compose each combination of the values of the swept overrides."""
    groups = {key for key in ("model", "data", "recipe", "train", "tracking") if options_of(key)}
    for override in overrides:
        if override.key_or_group in groups:
            _check_choice(override)
    fixed = [
        _as_list(override) if override.is_sweep_override() else override.input_line or ""
        for override in overrides
        if not override.is_sweep_override() or override.key_or_group in MEASURED_LISTS
    ]
    swept = [o for o in overrides if o.is_sweep_override() and o.key_or_group not in MEASURED_LISTS]
    chosen_groups = [o.input_line or "" for o in overrides if o.key_or_group in groups and not o.is_sweep_override()]
    first_groups = [next(_lines(o)) for o in swept if o.key_or_group in groups]
    base = _compose([*_every("stage"), *chosen_groups, *first_groups])
    for override in overrides:
        if override.key_or_group not in groups:
            _check_key(override, base, axis_names)
    targets = [o for o in overrides if o.key_or_group == "model._target_"]
    for combination in itertools.product(*(tuple(_lines(override)) for override in swept)):
        node = _compose([*_every("stage"), *fixed, *combination])
        if targets:
            _keep_given_options(node, overrides)
        plain = OmegaConf.to_container(node, resolve=False)
        assert isinstance(plain, dict)
        keys = {o.key_or_group: line.split("=", 1)[1] for o, line in zip(swept, combination, strict=True)}
        yield Composed(node={str(key): value for key, value in plain.items()}, swept=keys)


def _compose(overrides: Sequence[str]) -> DictConfig:
    return hydra.compose("config", overrides=list(overrides))


def _every(group: str, *, package: str | None = None) -> list[str]:
    """Return the overrides that bring every member of a group in, each under its own name."""
    return [f"+{group}@{package or group}.{name}={name}" for name in options_of(group)]


def _axes(node: DictConfig) -> dict[str, Axis]:
    plain = OmegaConf.to_container(node.axis, resolve=True)
    assert isinstance(plain, dict)
    named = {str(name): entry for name, entry in plain.items()}
    return {name: typed(Axis, {"name": name, **entry}, where=f"axis.{name}") for name, entry in named.items()}


def _values(override: Override) -> Iterator[object]:
    """Yield the plain values of an override, one or several."""
    if override.is_delete():
        return
    if override.is_sweep_override():
        found = override.sweep_iterator(transformer=Transformer.identity)
    else:
        found = iter([override.value()])  # type: ignore[list-item]
    for value in found:
        yield value.text if isinstance(value, QuotedString) else value


def _check_launcher(overrides: Sequence[str]) -> tuple[str, ...]:
    if overrides:
        GlobalHydra.instance().config_loader().load_configuration("config", list(overrides), run_mode=RunMode.MULTIRUN)
    return tuple(overrides)


def _flat(values: Iterable[object]) -> Iterator[object]:
    """Yield the values, and in place of a list its elements: [0, 1] and 0,1 mean the same."""
    for value in values:
        yield from value if isinstance(value, list) else [value]


def _engines(names: Sequence[object]) -> dict[str, Mapping[str, Any]]:
    known = options_of("engine")
    for name in names:
        if name not in known:
            raise ValueError(unknown_name(f"engine={name}", [f"engine={other}" for other in known], "choice"))
    if not names:
        raise ValueError(f"engine=: name at least one of {', '.join(known)}")
    plain = OmegaConf.to_container(_compose(_every("engine", package="engines")).engines, resolve=True)
    assert isinstance(plain, dict)
    return {str(name): plain[str(name)] for name in dict.fromkeys(names)}


def _lines(override: Override) -> Iterator[str]:
    """Yield the overrides with one value each that a sweep stands for."""
    for value in override.sweep_string_iterator():
        yield "=".join((override.get_key_element(), str(value)))


def _as_list(override: Override) -> str:
    values = ",".join(map(str, override.sweep_string_iterator()))
    return f"{override.get_key_element()}=[{values}]"


def _check_choice(override: Override) -> None:
    group = override.key_or_group
    for value in _values(override):
        if value not in options_of(group):
            raise ValueError(
                unknown_name(f"{group}={value}", [f"{group}={name}" for name in options_of(group)], "choice")
            )


def _check_key(override: Override, base: DictConfig, axis_names: Sequence[str]) -> None:
    """Refuse a key that the configuration lacks, with or without a plus before it."""
    key = override.key_or_group
    if key.startswith(FREE_NODES) or _has(base, key):
        return
    known = [*_leaves(OmegaConf.to_container(base, resolve=False)), *axis_names, "model", "data", "recipe"]
    raise ValueError(unknown_name(key, known, "key") if "." in key or len(key) > 2 else f"{key}: there is no such key")


def _has(base: DictConfig, key: str) -> bool:
    node: Any = base
    for part in key.split("."):
        if not isinstance(node, DictConfig) or part not in node:
            return False
        node = node._get_node(part)
    return True


def _leaves(node: Any, prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _keep_given_options(node: DictConfig, overrides: Sequence[Override]) -> None:
    """Drop the options of the network that `model._target_` replaces: the new one may not know them."""
    given = {
        o.key_or_group.removeprefix("model.").split(".")[0] for o in overrides if o.key_or_group.startswith("model.")
    }
    OmegaConf.set_struct(node, False)
    for name in list(node.model):
        if name not in given:
            del node.model[name]


def _check_seed(seed: object) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(
            f"seed={seed}: must be a whole number, 0 or more; a list such as seed=0,1,2 repeats every point"
        )
    return seed


def _one_line(error: Exception) -> str:
    """Return the gist of one of Hydra's messages, which run over several lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("full_key:", "object_type=", "See https", "^"))]
    return " ".join(kept[:2]) or type(error).__name__
