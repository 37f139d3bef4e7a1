"""All that a command says, in one list: what its files say, what Hydra's sweeper is given, and the command's own words.

Later ones go before earlier ones: the file of --config-name (its `hydra:` node), experiments, hydra.sweeper.params, the
command. `~key` takes away what files say, never what the command says itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from hydra.core.override_parser.types import Override, QuotedString

from effbench.config.axis import Axis
from effbench.config.experiment_files import EXPERIMENTS
from effbench.config.experiments import arguments_of_experiment
from effbench.config.file_arguments import PARAMS, arguments_of_hydra, param_text
from effbench.config.globs import with_globs
from effbench.config.imports import import_first
from effbench.config.overrides import flat, parse, values_of
from effbench.config.search_path import PRIMARY, primary_file, search_path
from effbench.config.yaml_files import read_yaml


@dataclass(frozen=True, kw_only=True)
class Layers:
    """The overrides of a command, each of a key of its own."""

    overrides: Sequence[Override]
    files: Mapping[str, str]
    """The file that says it, by key; of the other keys it is the command itself."""
    own: frozenset[str]
    """The arguments of the command that are none of these: experiments, and what is taken away."""

    @contextmanager
    def naming_files(self) -> Iterator[None]:
        """Have the ValueErrors about a key that a file gives name the file."""
        try:
            yield
        except ValueError as error:
            key = re.match(r"[\w./]+", str(error))
            file = None if key is None else self.files.get(key[0])
            raise ValueError(str(error) if file is None else f"{file}: {error}") from None


def layers_of(arguments: Sequence[str], axes: Mapping[str, Axis], /) -> Layers:
    """Return all that a command says, within a session of Hydra. ValueError, in one line, for what does not fit."""
    arguments = import_first(arguments)
    deletions = [argument for argument in arguments if argument.startswith("~")]
    command = parse(with_globs([argument for argument in arguments if argument not in deletions], axes))
    files: dict[str, str] = {}
    merged: dict[str, Override] = {}
    for argument, file in _of_files([override for override in command if override.key_or_group in EXPERIMENTS]):
        (override,) = _parsed(with_globs([argument], axes), file)
        merged.pop(override.key_or_group, None)
        merged[override.key_or_group], files[override.key_or_group] = override, file
    own = {o.key_or_group: o for o in command if o.key_or_group not in EXPERIMENTS}
    if "hydra/launcher" in own:  # what files say of another launcher does not hold of it
        merged = {key: override for key, override in merged.items() if not key.startswith("hydra.launcher.")}
    for given, source in (({k: o for k, o in merged.items()}, files), (own, {})):
        for key, override in given.items():
            if key != PARAMS and not key.startswith(f"{PARAMS}."):
                continue
            for argument in _params(override):
                (param,) = parse(with_globs([argument], axes))
                if param.key_or_group in EXPERIMENTS:
                    raise ValueError(f"{argument}: give it as an argument: +{argument.lstrip('+')}")
                merged[param.key_or_group] = param
                files.pop(param.key_or_group, None)
                if key in source:
                    files[param.key_or_group] = source[key]
    for argument in deletions:
        _take_away(argument, merged, own)
    overrides = {key: o for key, o in {**merged, **own}.items() if key != PARAMS and not key.startswith(f"{PARAMS}.")}
    return Layers(
        overrides=list(overrides.values()),
        files={key: file for key, file in files.items() if key not in own},
        own=frozenset(o.input_line or "" for o in command if o.key_or_group in EXPERIMENTS) | frozenset(deletions),
    )


def _of_files(experiments: Sequence[Override]) -> Iterator[tuple[str, str]]:
    """Yield what files say, each argument with its file, later ones go before."""
    if search_path().primary != PRIMARY:
        path, shown = primary_file()
        node = read_yaml(path, shown)
        for argument in [*_launcher_in(node), *arguments_of_hydra(node.get("hydra") or {})]:
            yield argument, shown
    for override in experiments:
        group = override.key_or_group
        if override.is_sweep_override():
            names = [str(name) for name in values_of(override)]
            each = " and then ".join(f"+{group}={name}" for name in names)
            raise ValueError(
                f"{override.input_line}: one {group} a command, as each has axes and a reference of its own: give "
                f"{each}, or all in one as +{group}=[{','.join(names)}]"
            )
        for name in flat(values_of(override)):
            if name is not None:
                yield from arguments_of_experiment(group, name)


def _launcher_in(node: Mapping[str, object]) -> Iterator[str]:
    """Yield what a file of defaults chooses of Hydra's groups, as in `override hydra/launcher: joblib`."""
    defaults = node.get("defaults", [])
    for entry in defaults if isinstance(defaults, list) else []:
        for key, value in entry.items() if isinstance(entry, Mapping) else []:
            group = str(key).removeprefix("override ").lstrip("/")
            if group.startswith("hydra/") and value is not None:
                yield f"{group}={value}"


def _parsed(arguments: Sequence[str], file: str) -> list[Override]:
    try:
        return parse(arguments)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def _params(override: Override) -> Iterator[str]:
    """Yield the arguments that a value of hydra.sweeper.params stands for."""
    key = override.key_or_group
    if key == PARAMS:
        value = override.value()
        if not isinstance(value, dict):
            raise ValueError(f"{override.input_line}: must be keys and values, as in {PARAMS}.prune=0.1,0.5")
        yield from (f"{_text(name)}={_text(part)}" for name, part in value.items())
        return
    name = key.removeprefix(f"{PARAMS}.")
    if override.is_sweep_override():  # as it is written: a choice, a range, values with commas
        yield f"{name}={(override.input_line or '').partition('=')[2]}"
        return
    yield f"{name}={_text(override.value())}"


def _text(value: object) -> str:
    return param_text(value.text if isinstance(value, QuotedString) else value)


def _take_away(argument: str, merged: dict[str, Override], own: Mapping[str, Override]) -> None:
    """Take away what files say of a key, if its value is the one that is named, or none is."""
    key, equals, value = argument[1:].partition("=")
    if key in own:
        raise ValueError(f"{argument}: a key can't be taken away that the command gives itself ({own[key].input_line})")
    found = [name for name in merged if name == key or name.startswith((f"{key}.", f"{key}/"))]
    if not found:
        raise ValueError(
            f"{argument}: a key can't be taken away that no experiment gives; give it another value, {key}=…, "
            "or leave an axis out"
        )
    for name in found:
        said = (merged[name].input_line or "").partition("=")[2]
        if equals and said != value:
            raise ValueError(f"{argument}: is {said}, and so is not taken away")
        del merged[name]
