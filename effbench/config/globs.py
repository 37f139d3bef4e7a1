"""glob(…) in a command: what a group has, by patterns, written out before anything else reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from hydra.errors import HydraException

from effbench.config.axis import Axis
from effbench.config.component_keys import FIELDS, as_key, is_component_key
from effbench.config.keys import GROUPS, options_of


def with_globs(arguments: Sequence[str], axes: Mapping[str, Axis], /) -> list[str]:
    """Return arguments in which each glob is the names that it stands for, as in model=lenet_300_100,lenet_5.

    Within a session of Hydra. ValueError where a glob stands for nothing; those of keys that have no names are left.
    """
    return [_written_out(argument, axes) if "glob(" in argument else argument for argument in arguments]


def _written_out(argument: str, axes: Mapping[str, Axis]) -> str:
    try:
        override = OverridesParser.create().parse_override(argument)
    except HydraException:
        return argument  # refused by whoever reads it next
    glob: object = override.value()
    key = as_key(override.key_or_group)
    names = _names(key, axes)
    if not isinstance(glob, Glob) or override.package is not None or not names:
        return argument
    found = glob.filter(names)
    if not found:
        raise ValueError(f"{argument}: stands for nothing; {key} can be {', '.join(names)}")
    return f"{key}={','.join(found)}"


def _names(key: str, axes: Mapping[str, Axis]) -> list[str]:
    """Return what a key can be, where that is names."""
    if key in axes:
        return [str(choice) for choice in axes[key].choices]
    if key in (*GROUPS, "engine"):
        return sorted(options_of(key))
    if is_component_key(key) and key.rpartition(".")[2] in FIELDS:
        return sorted(options_of(FIELDS[key.rpartition(".")[2]]))
    return []
