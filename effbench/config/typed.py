"""Dataclasses from configuration nodes, with one clear line for what does not fit."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def typed(kind: type[T], node: Mapping[str, Any], /, *, where: str) -> T:
    """Return `kind(**node)`, a dataclass that checks its own fields.

    `where` is the node's own key, for messages. ValueError names the key, the value and what is allowed.
    """
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}  # type: ignore[arg-type]
    for name in node:
        if name not in fields:
            raise ValueError(unknown_name(f"{where}.{name}", [f"{where}.{known}" for known in fields], "key"))
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in node:
            raise ValueError(f"{where}.{name}: must be given")
    try:
        return kind(**node)
    except ValueError as error:  # it begins with the name of the field
        raise ValueError(f"{where}.{error}") from None


def unknown_name(name: str, known: Iterable[str], what: str, *, shown: Iterable[str] | None = None) -> str:
    """Return the message for a name that is none of those known: it names the nearest one, or lists those `shown`.

    name: with the key that it is a value of, if it is one, as in "recipe.steps: finetun".
    """
    known = sorted(set(known))
    near = difflib.get_close_matches(name.rpartition(": ")[2].lower(), known, n=1, cutoff=0.75)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known if shown is None else sorted(set(shown)))}"
    return f"{name}: there is no such {what}; {hint}"
