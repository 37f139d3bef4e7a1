"""Values of their own for single layers: patterns of layer names, the first that matches counts.

A pattern is a layer's name as `named_modules` gives it, with * (anything), ? (one character) and […] (one of these), as
in "features.conv*"; "classifier.*" means the module classifier and all within it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from effbench.checks.patterns import matches

SKIP = "skip"
"""The value of a layer that is left out."""


def assign(patterns: Mapping[str, Any], names: Sequence[str], /, *, default: Any) -> dict[str, Any]:
    """Return the value of each layer that is not skipped, by name, in the order of `names`.

    ValueError for a pattern that meets no layer: it lists those there are.

    >>> assign({"conv1": 8, "fc*": "skip"}, ["conv1", "conv2", "fc1"], default=4)
    {'conv1': 8, 'conv2': 4}
    """
    for pattern in patterns:
        if not any(matches(pattern, name) for name in names):
            raise ValueError(
                f"layers: the pattern {pattern} meets no layer of the network; there are {', '.join(names)}"
            )
    values = {name: next((patterns[p] for p in patterns if matches(p, name)), default) for name in names}
    return {name: value for name, value in values.items() if value != SKIP}


def beside(patterns: Mapping[str, Any], names: Sequence[str], further: Sequence[str], /) -> dict[str, Any]:
    """Return the patterns but for those that meet none of `names`, and something of what a stage acts on `further`.

    >>> beside({"fc*": 4, "attention": "skip", "head": 2}, ["fc1"], ["fc1", "attention"])
    {'fc*': 4, 'head': 2}
    """

    def meets(pattern: str, known: Sequence[str]) -> bool:
        return any(matches(pattern, name) for name in known)

    return {p: value for p, value in patterns.items() if meets(p, names) or not meets(p, further)}


def value_of(patterns: Mapping[str, Any], name: str, /, *, default: Any) -> Any:
    """Return the value of one layer or module; None where it is skipped.

    >>> [value_of({"fc*": 4, "head": "skip"}, name, default=8) for name in ("fc1", "head", "conv")]
    [4, None, 8]
    """
    value = next((value for pattern, value in patterns.items() if matches(pattern, name)), default)
    return None if value == SKIP else value


def refuse_own_values(layers: Mapping[str, Any], why: str, /) -> None:
    """Refuse values of single layers but skip: ValueError says why."""
    if any(value != SKIP for value in layers.values()):
        raise ValueError(f"layers={dict(layers)}: must be skip; {why}")


def check_patterns(patterns: Mapping[str, Any], /) -> None:
    """Refuse what is no pattern. ValueError names it."""
    for pattern in patterns:
        if not isinstance(pattern, str) or not pattern.strip():
            raise ValueError(f"layers={{{pattern}: …}}: a pattern must be the name of layers, such as features.conv*")
