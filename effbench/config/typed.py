"""Plain dataclasses from configuration nodes, with one clear line for what does not fit."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Hashable, Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeVar, cast, get_type_hints

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
    hints = get_type_hints(kind)
    numbers = [name for name in fields if hints[name] in (int, float)]
    for name, value in node.items():
        if isinstance(value, bool) and name in numbers:  # which pydantic takes for 0 and 1
            raise ValueError(f"{where}.{name}={value}: must be a number, not true or false")
    try:
        checked: T = _adapter(cast(Hashable, kind)).validate_python(dict(node))
    except pydantic.ValidationError as error:
        raise ValueError(_first_line(error, where)) from None
    return checked


@lru_cache
def _adapter(kind: Hashable) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(cast(type[Any], kind))


def unknown_name(name: str, known: Iterable[str], what: str, *, shown: Iterable[str] | None = None) -> str:
    """Return the message for a name that is none of those known: it names the nearest one, or lists those `shown`."""
    known = sorted(set(known))
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.75)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known if shown is None else sorted(set(shown)))}"
    return f"{name}: there is no such {what}; {hint}"


_PLAINLY = {
    "int": "must be a whole number",
    "float": "must be a number",
    "string": "must be text",
    "bool": "must be true or false",
    "literal": "must be {expected}",
}


def _first_line(error: pydantic.ValidationError, where: str) -> str:
    first = error.errors()[0]
    if first["type"] == "value_error":  # raised by the dataclass itself: it begins with the name of the field
        return f"{where}.{first['ctx']['error']}"
    # The number of an element of a list is nothing that the user wrote.
    key = ".".join([where, *(part for part in first["loc"] if isinstance(part, str))])
    if first["type"] == "missing":
        return f"{key}: must be given"
    plainly = _PLAINLY.get(first["type"].partition("_")[0])
    message = first["msg"] if plainly is None else plainly.format(**first.get("ctx", {}))
    value = "null" if first["input"] is None else first["input"]
    return f"{key}={value}: {message}"
