"""A run's config.yaml: its configuration, and the commands that make it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import yaml

from effbench.checks.secrets import hide_by_names, without_secrets
from effbench.checks.text import printable
from effbench.config.keys import GROUPS
from effbench.config.overrides import parse, quoted, values_of
from effbench.config.resolved_file import HEADER, NODES
from effbench.plan.given import is_given, name_of
from effbench.plan.point import Point
from effbench.plan.sweep import Sweep

# Where PyYAML has its dumper in C, that takes a tenth of the time.
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
REFINE = "sweep.refine"
"""The key that adds runs to a sweep, which the command of one of its runs leaves out."""


def config_file(point: Point, sweep: Sweep, /) -> bytes:
    """Return a run's config.yaml: `--config-dir` with its folder makes the run again."""
    command = command_of(point, sweep)
    node = {
        **_alone(_with_engines(point.resolved, sweep)),
        HEADER: {**_versions(), "run_key": point.key, "command": command},
    }
    node[HEADER] |= point.resolved.get(HEADER, {})
    lines = [
        f"The configuration of the run {point.key} ({point}), as effbench {_versions()['version']} resolved it.",
        f"The same run again:             {command}",
        "or, from the folder of this file: python -m effbench.sweep --config-dir .",
        f"and compared with what was logged: python -m effbench.replay run={point.key}",
    ]
    return _dumped(lines, node)


def sweep_config_file(sweep: Sweep, /) -> bytes:
    """Return the config.yaml of a sweep's parent: what its runs have in common, all values of what they do not."""
    points = [point for point in sweep.plan.points if not point.is_refined]  # these follow from the others
    asked = [point for point in points if not (point.is_reference or point.is_control)] or points
    node = _with_engines(points[0].resolved, sweep)
    for axis in sweep.plan.axes:
        node[axis] = list(dict.fromkeys(point.axes[axis] for point in asked if axis in point.axes))
    node["seed"] = list(dict.fromkeys(point.seed for point in points))
    swept = {key: list(dict.fromkeys(point.swept.get(key) for point in points)) for key in points[0].swept}
    command = without_secrets(_command_of({}, sweep))
    header = {**_versions(), "command": command, **points[0].resolved.get(HEADER, {}), "swept": swept}
    for key in [key for key in swept if key in node]:
        del node[key]
    lines = [
        f"The configuration of the sweep {sweep.plan.sweep_id}, as effbench {_versions()['version']} resolved it.",
        f"The same sweep again: {command}",
    ]
    return _dumped(lines, {**node, HEADER: header})


def _alone(node: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a run, which is made again without those that followed from its sweep's results."""
    return {**node, "sweep": {**node["sweep"], "refine": 0}} if node["sweep"].get("refine") else node


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    return {"version": version("effbench")}


def _with_engines(resolved: Mapping[str, Any], sweep: Sweep) -> dict[str, Any]:
    engines = {name: {"_target_": engine.target, **engine.options} for name, engine in sweep.engines.items()}
    return {**{key: value for key, value in resolved.items() if key != HEADER}, "engine": engines}


def _dumped(lines: list[str], node: Mapping[str, Any]) -> bytes:
    """Return a file: remarks, then axes and seed, then what most runs of a sweep share, which is written out once."""
    shared = {key: value for key, value in node.items() if key in NODES}
    own = {key: value for key, value in node.items() if key not in (*NODES, HEADER)}
    remarks = "".join(f"# {printable(line)}\n" for line in lines)
    return f"{remarks}{_written(own)}{_written_out(json.dumps(shared))}{_written({HEADER: node[HEADER]})}".encode()


def _written(node: Mapping[str, Any]) -> str:
    # By way of JSON, so that there are no tuples, and nothing stands for what was said elsewhere in the file.
    plain = json.loads(json.dumps(node))
    text: str = yaml.dump(plain, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=160)
    return text


@lru_cache(maxsize=16)
def _written_out(text: str) -> str:
    return _written(json.loads(text))


def command_of(point: Point, sweep: Sweep, /) -> str:
    """Return the one line that makes a run again: the sweep's own, with the values of this run alone.

    >>> from effbench.config.read import read_sweep
    >>> sweep = read_sweep(["+prune=0.1,0.5", "train.epochs=3"])
    >>> command_of(sweep.plan.points[-1], sweep)
    'python -m effbench.sweep prune=0.5 train.epochs=3 seed=0'
    """
    values = {**point.swept, **point.axes, "seed": point.seed}
    return without_secrets(_command_of(values, sweep))


def _command_of(values: Mapping[str, Any], sweep: Sweep) -> str:
    if not sweep.command.startswith("python "):
        return f"effbench.run_sweep({', '.join(_keywords(values, sweep))})"
    return shlex.join(["python", "-m", "effbench.sweep", *_arguments(values, sweep)])


def _arguments(values: Mapping[str, Any], sweep: Sweep) -> Iterator[str]:
    left = dict(values)
    for argument in sweep.arguments:
        key = _key_of(argument)
        if values and key == REFINE:
            continue
        if key in left:
            yield _argument(key, left.pop(key))
        elif key not in values:
            yield _without_secret(argument)
    yield from (_argument(key, value) for key, value in left.items())


def _without_secret(argument: str) -> str:
    """Return an argument with *** for what it gives to a key that is called as secrets are."""
    key, equals, value = argument.partition("=")
    return f"{key}{equals}{hide_by_names(value, key)}"


def _key_of(argument: str) -> str:
    """Return the key of an argument; of what is none, all of it. What sweeps in Hydra's words sweeps the key itself."""
    key = argument.partition("=")[0].lstrip("+").removeprefix("hydra.sweeper.params.")
    return key if "=" in argument and not argument.startswith("-") else argument


def _argument(key: str, value: Any) -> str:
    """Return an argument that gives a key this one value."""
    plain = f"{key}={value}"
    if not isinstance(value, str) or key not in GROUPS:
        return plain
    with suppress(ValueError):
        if list(values_of(parse([plain])[0])) == [value]:
            return plain
    return f"{key}={quoted(value)}"


def _keywords(values: Mapping[str, Any], sweep: Sweep) -> Iterator[str]:
    left = dict(values)
    for argument in sweep.arguments:
        if argument.startswith("--config-"):
            option, _, value = argument.removeprefix("--").partition("=")
            yield f"{option.replace('-', '_')}={value!r}"
            continue
        (override,) = parse([argument])
        key = override.key_or_group
        if values and key == REFINE:
            continue
        given = list(values_of(override))
        given = [hide_by_names(value, key) for value in given]
        shown = given[0] if not override.is_sweep_override() else given
        yield f"{key.replace('.', '__')}={_shown(left.pop(key, shown) if key not in GROUPS else shown)}"
        left.pop(key, None)
    yield from (f"{key.replace('.', '__')}={_shown(value)}" for key, value in left.items())


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return name_of(value) if is_given(value) else repr(value)
