"""Keys and values of a file of the user's as the arguments that they stand for; Hydra's own node among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from effbench.checks.fields import shown
from effbench.config.keywords import arguments_of
from effbench.config.overrides import quoted

PARAMS = "hydra.sweeper.params"
"""What Hydra's sweeper sweeps: a mapping of keys to values as on a command line, "0.1,0.5"."""


def arguments_of_node(node: Mapping[str, Any], /) -> list[str]:
    """Return what a command line would say: a list is several values where the key holds one.

    ValueError for what is no value of a key.

    >>> arguments_of_node({"prune": [0.1, 0.5], "train": {"lr": 1}, "hydra": {"sweeper": {"params": {"bits": "8,4"}}}})
    ['prune=0.1,0.5', 'train.lr=1', 'hydra.sweeper.params.bits=8,4']
    """
    others = {key: value for key, value in node.items() if key != "hydra"}
    return [*arguments_of(others), *arguments_of_hydra(node.get("hydra") or {})]


def arguments_of_hydra(node: Any, /) -> list[str]:
    """Return what a command line would say for the node `hydra` of a file, but for its search path, read before."""
    if not isinstance(node, Mapping):
        raise ValueError(f"hydra={shown(node)}: must be keys and values")
    return list(_leaves({key: value for key, value in node.items() if key != "searchpath"}, "hydra"))


def _leaves(node: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name, value in node.items():
        key = f"{prefix}.{name}"
        if prefix == PARAMS:
            yield f"{prefix}.{str(name).lstrip('+')}={param_text(value)}"
        elif isinstance(value, Mapping) and value:
            yield from _leaves(value, key)
        else:
            yield f"{key}={_literal(value)}"


def param_text(value: Any, /) -> str:
    """Return a value of Hydra's sweeper as it stands on a command line, where several are written with commas.

    >>> param_text("0.1, 0.5"), param_text([0.1, 0.5]), param_text("choice(a,b)"), param_text(True)
    ('0.1, 0.5', '0.1,0.5', 'choice(a,b)', 'true')
    """
    if isinstance(value, list):
        return ",".join(_literal(part) for part in value)
    return value if isinstance(value, str) else _literal(value)


def _literal(value: Any) -> str:
    """Return a value in Hydra's grammar."""
    if isinstance(value, list):
        return f"[{','.join(map(_literal, value))}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{_literal(part)}" for name, part in value.items()) + "}"
    if isinstance(value, str):
        return quoted(value)
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
