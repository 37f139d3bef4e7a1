"""Fields of dataclasses checked by their annotations: types, ranges and choices are declared, not written out by hand.

A field is annotated as in `ratio: Annotated[float, Field(ge=0, lt=1)]` or `scope: Literal["global", "layer"]`; the
class calls `check_fields(self)` in its `__post_init__`, and writes out only what relates two fields. Nothing is
converted, but for a whole number where a floating one is declared (1 becomes 1.0).
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Union, cast, get_args, get_origin, get_type_hints

import pydantic
from pydantic.fields import FieldInfo

_CONFIG = pydantic.ConfigDict(strict=True, arbitrary_types_allowed=True)


def check_fields(instance: Any, /) -> None:
    """Check every field of a dataclass. ValueError, in one line, names the field, its value and what is allowed.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Half:
    ...     share: float
    ...     def __post_init__(self):
    ...         check_fields(self)
    >>> Half(1).share
    1.0
    >>> Half("a")
    Traceback (most recent call last):
    ValueError: share=a: must be a number
    """
    for name, (adapter, hint) in _adapters(cast(Hashable, type(instance))).items():
        value = getattr(instance, name)
        try:
            checked = adapter.validate_python(value)
        except pydantic.ValidationError as error:
            raise ValueError(_refusal(name, value, hint, error)) from None
        if not _is_finite(checked):
            raise ValueError(_not_finite(name, value, hint))
        if checked is not value:
            object.__setattr__(instance, name, checked)


def check_arguments(function: Callable[..., Any], values: Mapping[str, object], /) -> None:
    """Check keyword arguments by the annotations of a function, or of a dataclass.

    ValueError, in one line, names the argument, its value and what is allowed. Arguments that it does not take are
    passed over, as are those without an annotation.

    >>> def area(*, width: int, height: float = 1.0): ...
    >>> check_arguments(area, {"width": 2, "height": 3})
    >>> check_arguments(area, {"width": "two"})
    Traceback (most recent call last):
    ValueError: width=two: must be a whole number
    """
    for name, (adapter, hint) in _argument_adapters(cast(Hashable, function)).items():
        if name not in values:
            continue
        try:
            checked = adapter.validate_python(values[name])
        except pydantic.ValidationError as error:
            raise ValueError(_refusal(name, values[name], hint, error)) from None
        if not _is_finite(checked):
            raise ValueError(_not_finite(name, values[name], hint))


def _not_finite(name: str, value: object, hint: Any) -> str:
    return f"{name}={shown(value)}: must be {allowed(hint)}{', all finite' if isinstance(value, list | tuple) else ''}"


def _refusal(name: str, value: object, hint: Any, error: pydantic.ValidationError) -> str:
    """Say what is wrong with a value; of a list, with its first element that is."""
    place, *_ = *error.errors()[0]["loc"], None
    if isinstance(value, list | tuple) and isinstance(place, int) and get_origin(hint) in (Sequence, list, tuple):
        value, hint = value[place], get_args(hint)[0]
    text = shown(value)
    if isinstance(value, str) and _is_number(value):
        text = f"'{text}' (a text; ${{oc.decode:${{oc.env:X}}}} makes a number of what the environment has)"
    return f"{name}={text}: must be {allowed(hint)}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def shown(value: object, /) -> str:
    """Return a value as users write it: null, true, false, and lists in brackets."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {shown(part)}' for name, part in value.items())}}}"
    return str(value)


def allowed(hint: Any, /) -> str:
    """Say in words which values an annotation allows.

    >>> allowed(Annotated[int, pydantic.Field(ge=1, le=16)])
    'a whole number, 1 to 16'
    >>> allowed(Annotated[float, pydantic.Field(ge=0, lt=1, description="0.5 is half")] | None)
    'a number in [0, 1), or null; 0.5 is half'
    >>> allowed(Literal["max", "mse"])
    'max or mse'
    """
    main, remark = _described(hint)
    return f"{main}; {remark}" if remark else main


def _described(hint: Any) -> tuple[str, str]:
    """Return what is allowed, and a remark on it."""
    if get_origin(hint) is Annotated:
        inner, *metadata = get_args(hint)
        fields = [entry for entry in metadata if isinstance(entry, FieldInfo)]
        main, remark = _described(inner)
        limits = _limits([limit for field in fields for limit in field.metadata])
        said = next((field.description for field in fields if field.description), remark)
        return main + _range_in_words(limits, is_whole=inner is int), said or ""
    if get_origin(hint) in (Union, types.UnionType):
        parts = [_described(part) for part in get_args(hint) if part is not type(None)]
        main = " or ".join(part for part, _ in parts)
        remark = next((text for _, text in parts if text), "")
        return (f"{main}, or null" if type(None) in get_args(hint) else main), remark
    if get_origin(hint) is Literal:
        *others, last = map(str, get_args(hint))
        return (f"{', '.join(others)} or {last}" if others else last), ""
    if get_origin(hint) in (Sequence, list, tuple):
        return f"a list, each element {_described(get_args(hint)[0])[0]}", ""
    if get_origin(hint) in (Mapping, dict):
        return "a mapping", ""
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(hint, str(hint)), ""


def _limits(metadata: Sequence[Any]) -> dict[str, float]:
    names = ("ge", "gt", "le", "lt", "min_length")
    return {name: getattr(entry, name) for entry in metadata for name in names if hasattr(entry, name)}


def _range_in_words(limits: Mapping[str, float], *, is_whole: bool) -> str:
    low, high = limits.get("ge", limits.get("gt")), limits.get("le", limits.get("lt"))
    if low is None and high is None:
        return " that is not empty" if "min_length" in limits else ""
    if high is None:
        return f", {low:g} or more" if "ge" in limits else f" above {low:g}"
    if low is None:
        return f", at most {high:g}" if "le" in limits else f" below {high:g}"
    if is_whole:
        return f", {low + ('gt' in limits):g} to {high - ('lt' in limits):g}"
    return f" in {'[' if 'ge' in limits else '('}{low:g}, {high:g}{']' if 'le' in limits else ')'}"


def _is_finite(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return all(map(_is_finite, value)) if isinstance(value, list | tuple) else True


@cache
def _adapters(kind: Hashable) -> dict[str, tuple[pydantic.TypeAdapter[Any], Any]]:
    """Return the validator and the annotation of each field of a dataclass."""
    hints = get_type_hints(kind, include_extras=True)
    names = [field.name for field in dataclasses.fields(cast(Any, kind))]
    return {name: (pydantic.TypeAdapter(hints[name], config=_CONFIG), hints[name]) for name in names}


@cache
def _argument_adapters(function: Hashable) -> dict[str, tuple[pydantic.TypeAdapter[Any], Any]]:
    """Return the validator and the annotation of each argument of a function."""
    hints = get_type_hints(function, include_extras=True)
    of_class = {name for name, hint in hints.items() if get_origin(hint) is ClassVar}
    plain = {name: _as_sequence(hint) for name, hint in hints.items() if name not in {"return", *of_class}}
    return {name: (pydantic.TypeAdapter(hint, config=_CONFIG), hint) for name, hint in plain.items()}


def _as_sequence(hint: Any) -> Any:
    """Return an annotation with sequences for iterables, whose elements can't be checked without using them up."""
    if get_origin(hint) is Iterable:
        return Sequence[get_args(hint)]  # type: ignore[misc]
    if get_origin(hint) in (Union, types.UnionType):
        return Union[tuple(map(_as_sequence, get_args(hint)))]  # noqa: UP007 (of as many as there are)
    return hint
