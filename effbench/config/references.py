"""References in what is chosen or swept, ${oc.env:MODEL} or a resolver of the user's: resolved before they are read.

Elsewhere a reference stays what it is until its configuration is there, as ever with Hydra.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from effbench.checks.errors import first_line
from effbench.config.hydra_session import compose
from effbench.config.keys import ENGINES, GROUPS
from effbench.config.keywords import arguments_of
from effbench.config.overrides import parse, values_of
from effbench.config.search_path import search_path

WHOLE = ("device", "tolerance", "saturation", "figure", "dry_run", "measure", "sweep", "store", "tracking")
"""Keys and nodes that are the whole sweep's."""


def with_references(overrides: Sequence[Override], axes: Collection[str], /) -> list[Override]:
    """Return overrides in which what is swept and chosen has its references resolved; a list is several values.

    Within a session of Hydra. ValueError, which names the override, for one to what there is not.
    """
    return [_resolved(o) if o.key_or_group in (*axes, *GROUPS, "seed", "engine") else o for o in overrides]


def _resolved(override: Override) -> Override:
    values = list(values_of(override)) if "${" in (override.input_line or "") else []
    if not any(isinstance(value, str) and "${" in value for value in values):
        return override
    base = compose(search_path().primary)
    OmegaConf.set_struct(base, False)
    found = [part for value in values for part in _values(base, value, override.input_line)]
    (written,) = parse(arguments_of({override.key_or_group: found}))
    return written


def _values(base: Any, value: object, line: str | None) -> Iterator[object]:
    if not isinstance(value, str) or "${" not in value:
        yield value
        return
    try:
        base["referred_to"] = value
        resolved = base["referred_to"]
    except OmegaConfBaseException as error:
        raise ValueError(f"{line}: {why_unresolved(error)}") from None
    if isinstance(resolved, ListConfig | list | tuple):
        yield from resolved
    else:
        yield _number(resolved) if isinstance(resolved, str) else resolved


def _number(text: str) -> object:
    """Return the number that a text is, as that of a variable of the environment; else the text."""
    try:
        value = OverridesParser.create().parse_override(f"x={text}").value()
    except HydraException:
        return text
    return value if isinstance(value, int | float) and not isinstance(value, bool) else text


def with_whole_sweep_resolved(node: Mapping[str, Any], /) -> dict[str, Any]:
    """Return a configuration in which what is asked of the whole sweep has its references resolved.

    ValueError, which names the key, for one to what there is not.
    """
    config = OmegaConf.create({name: value for name, value in node.items() if name != ENGINES})
    try:
        found = {name: config[name] for name in WHOLE if name in config}
        plain = {n: OmegaConf.to_container(v, resolve=True) if OmegaConf.is_config(v) else v for n, v in found.items()}
    except OmegaConfBaseException as error:
        raise ValueError(f"{error.full_key}: {why_unresolved(error)}") from None
    return {**node, **{name: _number(value) if isinstance(value, str) else value for name, value in plain.items()}}


def why_unresolved(error: OmegaConfBaseException, /) -> str:
    """Return why a reference can't be followed, and how a resolver of the user's is brought in."""
    reason = first_line(error)
    return f"{reason}; imports=my_module imports what registers it" if "Unsupported interpolation" in reason else reason
