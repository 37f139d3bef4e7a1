"""Plain dataclasses from configuration nodes, with one clear line for what does not fit."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import pydantic

T = TypeVar("T")


def typed(kind: type[T], node: Mapping[str, Any], /, *, where: str) -> T:
    """Return `kind(**node)` with every value of its declared type.

    `where` is the node's own key, for messages. ValueError names the key, the value and what is allowed.
    """
    fields = [f.name for f in dataclasses.fields(kind) if f.init]  # type: ignore[arg-type]
    for name in node:
        if name not in fields:
            raise ValueError(unknown_name(f"{where}.{name}", [f"{where}.{known}" for known in fields], "key"))
    try:
        return pydantic.TypeAdapter(kind).validate_python(dict(node))
    except pydantic.ValidationError as error:
        raise ValueError(_first_line(error, where)) from None


def unknown_name(name: str, known: Iterable[str], what: str) -> str:
    """Return the message for a name that is none of those known, with the nearest one where there is one."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    return f"{name}: there is no such {what}; {hint}"


def _first_line(error: pydantic.ValidationError, where: str) -> str:
    first = error.errors()[0]
    if first["type"] == "value_error":  # raised by the dataclass itself: it begins with the name of the field
        return f"{where}.{first['ctx']['error']}"
    key = ".".join([where, *(str(part) for part in first["loc"])])
    if first["type"] == "missing":
        return f"{key}: must be given"
    message = first["msg"].removeprefix("Input ")
    return f"{key}={first['input']}: {message}"
